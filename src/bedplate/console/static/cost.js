// The two charts of the cost page: days in layers, and the month with where it leads. Their tables stand beside them.
(() => {
  const root = document.documentElement, iso = (s) => new Date(s * 1e3).toISOString().slice(0, 10);
  const usd = (v) => (v == null ? "" : `$${v.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: v && v < 1 ? 6 : 2 })}`);
  const colour = (name) => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.className = name;
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const DAY = 86400;

  function days({ t, names, values }) {
    // Layers are drawn as sums, the whole first, so that each covers what is below it; the legend tells its own amount.
    const sums = [], card = colour("card-ink");
    values.forEach((own, n) => sums.push(own.map((v, d) => v + (n ? sums[n - 1][d] : 0))));
    const order = names.map((_, n) => n).reverse(), bars = uPlot.paths.bars({ size: [0.8, 48], radius: 0 });
    return {
      columns: [t, ...order.map((n) => sums[n])],
      series: order.map((n) => ({ label: names[n] || "no team", fill: colour(`s${n}`), stroke: card, width: 1, paths: bars, points: { show: false }, value: (_, __, ___, i) => usd(i == null ? null : values[n][i]) })),
      range: [t[0] - DAY / 2, t[t.length - 1] + DAY / 2],
    };
  }
  function month({ t, so_far, expected, low, high, most }) {
    const line = { points: { show: false }, value: (_, v) => usd(v) }, led = expected.length;
    const series = [{ ...line, label: "so far", stroke: colour("accent"), width: 2, points: { show: t.length < 2 || so_far.length < 3, size: 6 } }], columns = [t, so_far];
    if (led) {
      series.push({ ...line, label: "high", stroke: colour("fan") }, { ...line, label: "expected", stroke: colour("accent"), width: 2, dash: [4, 4] }, { ...line, label: "low", stroke: colour("fan") });
      columns.push(high, expected, low);
    }
    if (most) {
      series.push({ ...line, label: "limit", stroke: colour("bad"), dash: [6, 4] });
      columns.push(t.map(() => most));
    }
    return { columns, series, bands: led ? [{ series: [2, 4], fill: colour("fan") }] : [], range: [t[0] - DAY / 2, t[t.length - 1] + DAY / 2] };
  }
  function draw() {
    for (const place of document.querySelectorAll(".spend")) {
      place.plot?.destroy();
      const made = (place.dataset.kind === "days" ? days : month)(JSON.parse(place.dataset.columns));
      const stroke = colour("muted"), grid = { stroke: colour("hair"), width: 1 }, size = () => ({ width: place.clientWidth, height: 220 });
      const most = Math.max(1e-6, ...made.columns.slice(1).flat().filter((v) => v != null)) * 1.08;
      place.plot = new uPlot({
        ...size(), tzDate: (s) => uPlot.tzDate(new Date(s * 1e3), "UTC"), bands: made.bands,
        scales: { x: { time: true, range: made.range }, y: { range: [0, most] } },
        axes: [{ stroke, grid, space: 76, incrs: [1, 2, 7, 14, 28, 91, 182].map((n) => n * DAY), values: (_, splits) => splits.map(iso) }, { stroke, grid, size: 68, values: (_, splits) => splits.map((v) => `$${v.toLocaleString("en", { maximumFractionDigits: 6 })}`) }],
        series: [{ label: "Day", value: (_, s) => (s == null ? "" : iso(s)) }, ...made.series],
      }, made.columns, place);
      place.watch ||= new ResizeObserver(() => place.plot.setSize(size()));
      place.watch.observe(place);
    }
  }
  draw();
  new MutationObserver(draw).observe(root, { attributeFilter: ["data-theme"] });
})();
