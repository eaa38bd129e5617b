"""The peers, on the same curves: regression with Newey-West errors, rdrobust and ruptures.

They live in .venv-bench, so a process of their own measures them: this module, run there.
"""

import atexit
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from diagnosis.tables import Cells, Setting

NAMES = ("Newey-West", "rdrobust", "ruptures")
CURVES = {"Newey-West": 400, "rdrobust": 100, "ruptures": 400}
"""So many curves of each row, at most: rdrobust takes 20 ms for one."""
HOW_TO = "The peers are not installed: scripts/make-bench-venv makes .venv-bench with them. Their columns are blank."

_children: dict[str, subprocess.Popen[str]] = {}


def shares(setting: "Setting", losses: np.ndarray, length: int, falls: bool = False) -> "Cells":
    """In how many per cent of the curves [count, 2 n] each peer reports a jump, or a fall; None without the peers."""
    if setting.peers is None:
        return dict.fromkeys(NAMES)
    child = _children.get(setting.peers)
    if child is None:
        child = subprocess.Popen(
            [setting.peers, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        _children[setting.peers] = child
        atexit.register(child.kill)
    assert child.stdin is not None
    assert child.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "curves.npz"
        np.savez(file, losses=losses[: max(CURVES.values())], length=length, falls=falls)
        print(file, file=child.stdin, flush=True)
        answer = child.stdout.readline()
    if not answer:
        raise RuntimeError(f"{setting.peers} {__file__} ended; run it by hand to see why")
    return json.loads(answer)


def are_installed(interpreter: Path) -> bool:
    """Whether an interpreter has them."""
    command = [str(interpreter), "-c", "import rdrobust, ruptures, statsmodels.api"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _newey_west(x: np.ndarray, y: np.ndarray) -> float | None:
    """The jump between lines on both sides, if it is significant at 5 %; 0 if it is not."""
    import statsmodels.api as sm

    after = x > 0
    regressors = np.column_stack([np.ones_like(x), x, after, x * after])
    lags = int(4 * (len(x) / 100) ** (2 / 9))  # Newey and West, 1994
    fit = sm.OLS(y, regressors).fit(cov_type="HAC", cov_kwds={"maxlags": lags}, use_t=True)
    return float(fit.params[2]) if fit.pvalues[2] < 0.05 else 0.0


def _rdrobust(x: np.ndarray, y: np.ndarray) -> float | None:
    """The same with rdrobust's defaults, by its robust p-value; None if it cannot be computed."""
    from rdrobust import rdrobust

    try:
        result = rdrobust(y, x, c=0)
    except Exception:
        return None
    p = float(np.asarray(result.pv).ravel()[2])
    return None if np.isnan(p) else float(np.asarray(result.coef).ravel()[0]) if p < 0.05 else 0.0


def _ruptures(x: np.ndarray, y: np.ndarray) -> float | None:
    """The difference of means next to a change of mean within two points of the cut; 0 if there is none.

    The penalty is that of BIC, with the variance from differences of neighbours.
    """
    import ruptures

    half = len(x) // 2
    variance = float(np.square(np.diff(y)).mean()) / 2
    search = ruptures.KernelCPD(kernel="linear", min_size=2).fit(y[:, None])
    ends = [0, *search.predict(pen=2 * np.log(len(y)) * variance)]
    for before, at, end in zip(ends, ends[1:], ends[2:], strict=False):
        if abs(at - half) <= 2:
            return float(y[at:end].mean() - y[before:at].mean())
    return 0.0


def main() -> None:
    """Reads the name of a file with curves from each line, and prints the shares of jumps."""
    import contextlib
    import os
    import warnings

    warnings.simplefilter("ignore")
    for name in sys.stdin:
        with np.load(name.strip()) as file:
            losses, length, falls = file["losses"], int(file["length"]), bool(file["falls"])
        half = losses.shape[-1] // 2
        x = (np.arange(-half, half) + 0.5) * length
        answer: dict[str, Any] = {}
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # rdrobust prints
            for peer, test in zip(NAMES, (_newey_west, _rdrobust, _ruptures), strict=True):
                values = [test(x, y) for y in losses[: CURVES[peer]]]
                known = [value for value in values if value is not None]
                reported = [value < 0 if falls else value != 0 for value in known]
                answer[peer] = 100 * sum(reported) / len(reported) if len(known) > len(values) / 2 else "-"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
