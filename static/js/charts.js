// Draws every [data-chart] from the JSON beside it, in the colours of the style sheet; again when the theme changes.
(() => {
  "use strict";
  const drawn = new Map();
  const PALETTE = ["accent", "low", "medium", "high", "good", "negligible"];

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const tone = (name, index) => css(`--sg-${name || PALETTE[index % PALETTE.length]}`);

  // Good and bad are one colour to a tenth of all men, good and low to others: what is filled with good is hatched.
  const HATCHED = new Set(["good"]);
  const hatching = (name, look) =>
    HATCHED.has(name)
      ? { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -Math.PI / 4, color: look.surface }
      : undefined;

  function frame() {
    return {
      text: css("--tblr-body-color"),
      quiet: css("--tblr-secondary"),
      line: css("--tblr-border-color"),
      surface: css("--tblr-bg-surface"),
      font: getComputedStyle(document.body).fontFamily,
    };
  }

  // Tooltips are built as nodes, not as markup: names come from reports.
  function tip(rows, title) {
    const box = document.createElement("div");
    const head = document.createElement("strong");
    head.textContent = title;
    box.append(head);
    for (const [name, value] of rows) {
      const row = document.createElement("div");
      row.textContent = `${name}: ${value}`;
      box.append(row);
    }
    return box;
  }

  const shown = (value, unit) => (value === null || value === undefined ? "–" : `${value.toLocaleString("en")}${unit}`);

  function common(data, look) {
    return {
      animation: false,
      aria: { enabled: true, decal: { show: false } },
      textStyle: { fontFamily: look.font, color: look.text },
      tooltip: {
        trigger: data.kind === "donut" ? "item" : "axis",
        confine: true,
        backgroundColor: look.surface,
        borderColor: look.line,
        textStyle: { color: look.text, fontSize: 12 },
        axisPointer: { type: data.kind === "line" || data.kind === "area" ? "line" : "shadow", shadowStyle: { opacity: 0.08 } },
        formatter: (points) => {
          const list = Array.isArray(points) ? points : [points];
          const rows = list.map((point) => [data.kind === "donut" ? point.name : point.seriesName, shown(point.value, data.unit)]);
          return tip(rows, data.kind === "donut" ? data.title : list[0]?.name ?? "");
        },
      },
      legend: {
        show: data.kind === "donut" || data.series.length > 1,
        bottom: 0,
        icon: "roundRect",
        itemWidth: 10,
        itemHeight: 10,
        itemGap: 14,
        textStyle: { color: look.quiet, fontSize: 12 },
      },
    };
  }

  function donut(data, look) {
    const series = data.series[0];
    return {
      ...common(data, look),
      series: [
        {
          type: "pie",
          radius: ["55%", "80%"],
          center: ["50%", "43%"],
          label: { show: false },
          itemStyle: { borderColor: look.surface, borderWidth: 2 },
          emphasis: { scale: false },
          data: data.labels.map((name, at) => ({
            name,
            value: series.values[at],
            itemStyle: { color: tone(data.tones[at], at), decal: hatching(data.tones[at], look) },
            cursor: series.urls[at] ? "pointer" : "default",
          })),
        },
      ],
    };
  }

  function axes(data, look) {
    const lying = data.kind === "row" || data.kind === "stacked-row";
    const labels = {
      type: "category",
      data: data.labels,
      inverse: lying,
      boundaryGap: data.kind !== "line" && data.kind !== "area",
      axisTick: { show: false },
      axisLine: { lineStyle: { color: look.line } },
      axisLabel: { color: look.quiet, fontSize: 12, hideOverlap: true, ...(lying ? { width: 160, overflow: "truncate" } : {}) },
    };
    const numbers = {
      type: "value",
      minInterval: data.unit ? 0 : 1,
      splitNumber: 4,
      splitLine: { lineStyle: { color: look.line } },
      axisLabel: { color: look.quiet, fontSize: 12, formatter: (value) => shown(value, data.unit) },
    };
    return lying ? { xAxis: numbers, yAxis: labels } : { xAxis: labels, yAxis: numbers };
  }

  // On a narrow place the legend of four or more series takes two lines.
  function legendRoom(data, width) {
    if (data.series.length < 2) return 4;
    return width < 440 && data.series.length > 3 ? 54 : 30;
  }

  function cartesian(data, look, width) {
    const curve = data.kind === "line" || data.kind === "area";
    const stacked = data.kind.startsWith("stacked") || data.kind === "area";
    return {
      ...common(data, look),
      ...axes(data, look),
      grid: { left: 4, right: 12, top: 10, bottom: legendRoom(data, width), containLabel: true },
      series: data.series.map((series, at) => ({
        name: series.name,
        type: curve || series.line ? "line" : "bar",
        data: series.values,
        stack: stacked && !series.line ? "all" : undefined,
        color: tone(series.tone, at),
        barMaxWidth: 26,
        symbolSize: 5,
        showSymbol: !series.line && data.labels.length < 40,
        lineStyle: series.line ? { width: 1.5, type: "dashed" } : { width: 2 },
        step: series.line ? "middle" : false,
        areaStyle: data.kind === "area" ? { opacity: 0.35 } : undefined,
        itemStyle: curve || series.line ? undefined : { ...(stacked ? { borderColor: look.surface, borderWidth: 1 } : {}), decal: hatching(series.tone, look) },
        emphasis: { disabled: true },
        cursor: series.urls.some(Boolean) ? "pointer" : "default",
      })),
    };
  }

  function draw(place) {
    const source = document.getElementById(place.dataset.chart);
    if (!source) return;
    const data = JSON.parse(source.textContent);
    const look = frame();
    const known = drawn.get(place);
    const chart = known ?? echarts.init(place, null, { renderer: "svg" });
    chart.setOption(data.kind === "donut" ? donut(data, look) : cartesian(data, look, place.clientWidth), true);
    if (known) return;
    drawn.set(place, chart);
    new ResizeObserver(() => chart.resize()).observe(place);
    chart.on("click", (event) => {
      const url = data.series[event.seriesIndex]?.urls[event.dataIndex];
      if (url) window.location.assign(url);
    });
  }

  function drawAll() {
    for (const [place, chart] of drawn) {
      if (place.isConnected) continue;
      chart.dispose();
      drawn.delete(place);
    }
    for (const place of document.querySelectorAll("[data-chart]")) draw(place);
  }

  document.addEventListener("DOMContentLoaded", drawAll);
  document.addEventListener("htmx:afterSettle", drawAll);
  document.addEventListener("secguard:theme", drawAll);
  if (document.readyState === "complete") drawAll();
})();
