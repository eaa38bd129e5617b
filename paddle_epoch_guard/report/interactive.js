// Turns the figures of the page into charts with values under the cursor, zoom, and curves that can be toggled.
// The static figures stay where scripts are off, and on paper. uPlot draws; the values are in the page, as JSON.
"use strict";

(() => {
  const { charts, texts } = JSON.parse(document.getElementById("curves").textContent);
  const INK = "#3a3f45";
  const GRID = { stroke: "#dedede", width: 1 };
  const FONT = "12px system-ui, sans-serif";

  const number = (value) => (value == null ? "\u2013" : value.toLocaleString("en", { maximumFractionDigits: 4 }));

  // The range of a y axis: that of the values in view, without spikes beyond the limits.
  const rangeOf = (panel) => (_, low, high) => {
    if (low == null) return [panel.low, panel.high];
    const bottom = Math.max(low, panel.low);
    const top = Math.max(Math.min(high, panel.high), bottom);
    const margin = 0.05 * (top - bottom) || 0.05 * Math.abs(top) || 1;
    return [bottom - margin, top + margin];
  };

  const seriesOf = (curve) => ({
    label: curve.label,
    stroke: curve.color,
    width: curve.width,
    dash: curve.dash ?? undefined,
    points: { show: false },
    spanGaps: curve.spans,
    value: (_, value) => number(value),
  });

  // The place of the value that is told under the cursor. A half step is no step: it is where curves are interrupted.
  // A curve with few values, such as the evaluation loss, tells its latest.
  const toldAt = (chart, series, at) => {
    const columns = chart.data;
    let place = Number.isInteger(columns[0][at]) ? at : at + 1;
    while (series > 0 && chart.series[series].spanGaps && place > 0 && columns[series][place] == null) place--;
    return place;
  };

  // Labels of so few lines have a row each; those of more stand in one row, where they have room.
  const ROWS = 4;

  // The label of a line, and where it begins: after the line, or before it; if neither has room, the step alone.
  const placed = (ctx, mark, x, [left, right], gap) => {
    for (const words of [mark.label, mark.short]) {
      const width = ctx.measureText(words).width;
      if (x + gap + width < right) return [words, x + gap];
      if (x - gap - width > left) return [words, x - gap - width];
    }
    return null;
  };

  // A vertical line at each place where the order of the data changes, with its label.
  const marksOf = (marks, labels) => (chart) => {
    const { ctx, bbox } = chart;
    const ratio = devicePixelRatio;
    const [left, right] = [bbox.left, bbox.left + bbox.width];
    const seen = marks
      .map((mark) => ({ mark, x: chart.valToPos(mark.step, "x", true) }))
      .filter(({ x }) => left <= x && x <= right);
    ctx.save();
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    ctx.lineWidth = 1.5 * ratio;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    let free = left;
    seen.forEach(({ mark, x }, at) => {
      ctx.strokeStyle = ctx.fillStyle = mark.color;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const inRows = seen.length <= ROWS;
      const room = inRows ? [left, right] : [free, seen[at + 1]?.x ?? right];
      const label = labels ? placed(ctx, mark, x, room, 5 * ratio) : null;
      if (label) ctx.fillText(label[0], label[1], bbox.top + (2 + (inRows ? 16 * at : 0)) * ratio);
      free = x;
    });
    ctx.restore();
  };

  const axis = { stroke: INK, grid: GRID, ticks: GRID, font: FONT, labelFont: FONT, labelSize: 20 };

  const optionsOf = (panel, at, name, width) => ({
    width,
    height: panel.height,
    cursor: { dataIdx: toldAt, sync: { key: name }, drag: { x: true, y: false }, focus: { prox: 24 } },
    focus: { alpha: 0.6 },
    scales: { x: { time: false }, y: { range: rangeOf(panel) } },
    axes: [{ ...axis, size: 30, label: panel.x_label }, { ...axis, size: 48 }],
    series: [{ label: panel.x_label, value: (_, value) => number(value) }]
      .concat(panel.curves.map(seriesOf)),
    hooks: { draw: [marksOf(panel.marks, at === 0)] },
  });

  // A legend entry is a button, for the keyboard too.
  const makeButtons = (chart) => {
    chart.root.querySelectorAll(".u-legend .u-series").forEach((row, at) => {
      const head = row.querySelector("th");
      if (at === 0 || head === null) return;
      const tell = () => head.setAttribute("aria-pressed", String(chart.series[at].show));
      head.tabIndex = 0;
      head.setAttribute("role", "button");
      head.addEventListener("click", () => setTimeout(tell));
      head.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        chart.setSeries(at, { show: !chart.series[at].show });
        tell();
      });
      tell();
    });
  };

  // Zooms all panels about the middle of what is in view; a factor of 0 shows all.
  const zoom = (panels, factor) => {
    for (const chart of panels) {
      const steps = chart.data[0];
      const [first, last] = [steps[0], steps[steps.length - 1]];
      const { min, max } = chart.scales.x;
      const half = factor === 0 ? Infinity : ((max - min) / 2) * factor;
      const middle = (min + max) / 2;
      chart.setScale("x", { min: Math.max(middle - half, first), max: Math.min(middle + half, last) });
    }
  };

  const draw = (figure, name, chart) => {
    const place = document.createElement("div");
    place.className = "chart";
    figure.querySelector("picture").after(place);
    figure.classList.add("live");
    const panels = chart.panels.map((panel, at) => {
      const title = document.createElement("p");
      title.className = "axis";
      title.textContent = panel.y_label;
      place.append(title);
      return new uPlot(optionsOf(panel, at, name, place.clientWidth), panel.columns, place);
    });
    panels.forEach(makeButtons);
    const bar = document.createElement("p");
    bar.className = "tools";
    for (const [text, factor] of [[texts.zoom_in, 0.5], [texts.zoom_out, 2], [texts.whole, 0]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => zoom(panels, factor));
      bar.append(button);
    }
    bar.append(texts.hint);
    place.append(bar);
    new ResizeObserver(() => {
      const width = place.clientWidth;
      if (width > 0) panels.forEach((each) => each.width !== width && each.setSize({ width, height: each.height }));
    }).observe(place);
  };

  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const chart = charts[figure.dataset.chart];
    if (chart) draw(figure, figure.dataset.chart, chart);
  }

  // For browsers whose style sheets cannot open them on paper.
  const closed = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      closed.push(details);
      details.open = true;
    }
  });
  addEventListener("afterprint", () => closed.splice(0).forEach((details) => (details.open = false)));
})();
