"""What stands in a log of VisualDL."""

from pathlib import Path

from visualdl import LogReader


def read_log(folder):
    (file,) = Path(folder).glob("vdlrecords*")
    return LogReader(file_path=str(file))


def read_scalars(folder, tag):
    return [(record.id, record.value) for record in read_log(folder).get_data("scalar", tag)]


def read_texts(folder, tag):
    return [record.text.encoded_text_string for record in read_log(folder).get_data("text", tag)]
