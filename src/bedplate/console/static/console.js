// What the pages do beyond plain HTML: theme, palette, keys, charts. Every page works without this file.
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const root = document.documentElement;

  // The theme is a cookie so that the server renders it at once, without a flash of the other one.
  $("#theme").addEventListener("click", () => {
    const dark = (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = `bedplate_theme=${root.dataset.theme}; Path=/; Max-Age=31536000; SameSite=Lax`;
    draw();
  });

  const palette = $("#palette"), text = $("#palette-text"), list = $("#palette-list");
  const shown = () => [...list.querySelectorAll("li:not([hidden]) a")];
  async function open() {
    palette.showModal();
    text.value = "";
    text.focus();
    const answer = await fetch(palette.dataset.src, { headers: { "HX-Request": "true" } });
    if (!answer.ok || answer.redirected) return location.reload();
    list.innerHTML = await answer.text();
    filter();
  }
  function filter() {
    const words = text.value.toLowerCase().split(/\s+/);
    for (const line of list.querySelectorAll("li")) line.hidden = !words.every((w) => line.textContent.toLowerCase().includes(w));
  }
  if (palette) {
    $("#cmdk").addEventListener("click", open);
    text.addEventListener("input", filter);
    palette.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], links = shown();
      if (event.key === "Enter" && event.target === text && links[0]) links[0].click();
      if (!step || !links.length) return;
      event.preventDefault();
      const next = links.indexOf(document.activeElement) + step;
      (links[next] || text).focus();
    });
  }

  let at = -1;
  const rows = () => [...document.querySelectorAll(".appr:not(.done)")].filter((row) => $("form", row));
  function select(index) {
    const all = rows();
    at = Math.max(0, Math.min(all.length - 1, index));
    for (const row of document.querySelectorAll(".appr.sel")) row.classList.remove("sel");
    all[at]?.classList.add("sel");
    all[at]?.scrollIntoView({ block: "nearest" });
  }
  addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && key === "k" && palette) {
      event.preventDefault();
      return open();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|TEXTAREA|SELECT/.test(event.target.tagName) || palette?.open) return;
    if (at < 0 && rows().length === 1 && /[ar]/.test(key)) select(0);
    const row = $(".appr.sel:not(.done)");
    if (key === "j" || key === "k") select(at + (key === "j" ? 1 : -1));
    if (key === "a" && row) $(".btn.ok", row)?.click();
    if (key === "r" && row) {
      event.preventDefault();
      $("form", row).dataset.rejecting = "yes";
      $("input", row).focus();
    }
  });
  // In the reason's field Enter would press the first button, which approves: after R it rejects, else it does nothing.
  document.addEventListener("keydown", (event) => {
    const form = event.target.closest?.(".appr-f");
    if (!form || event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    if (form.dataset.rejecting) $("button[value=reject]", form).click();
  });
  // After a vote the row is another element: a failed one keeps the selection, a finished one hands it on.
  document.addEventListener("htmx:after:swap", () => {
    const failed = $(".appr[data-failed]");
    if (!failed) return at >= 0 && select(at);
    select(rows().indexOf(failed));
    $("input", failed)?.focus();
  });

  const colour = (name) => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.className = name;
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  async function draw() {
    for (const place of document.querySelectorAll(".plot")) {
      place.seen ||= await (await fetch(place.dataset.src)).json();
      place.plot?.destroy();
      const { t, value, limit } = place.seen, last = t.length - 1, grid = { stroke: colour("hair"), width: 1 };
      const most = Math.max(10, ...value, ...limit) * 1.15, size = () => ({ width: place.clientWidth, height: 200 });
      const edge = Math.max(60, (t[last] - t[0]) * 0.04), stroke = colour("muted"), iso = (s) => new Date(s * 1e3).toISOString();
      // The limit reaches over the measures on both sides, so that it is seen beside a single one.
      const columns = [[t[0] - edge, ...t, t[last] + edge], [null, ...value, null], [limit[0], ...limit, limit[last]]];
      place.plot = new uPlot({
        ...size(), scales: { x: { time: true }, y: { range: [0, most] } },
        axes: [{ stroke, grid, values: (_, splits, __, ___, step) => splits.map((s) => (step < 86400 ? iso(s).slice(11, step < 60 ? 19 : 16) : iso(s).slice(0, 10))) }, { stroke, grid }],
        series: [{ label: "UTC", value: (_, s) => (s == null ? "" : iso(s).slice(0, 16).replace("T", " ")) },
          { label: `${place.dataset.name} %`, stroke: colour("accent"), width: 2, points: { show: t.length < 40, size: 6 } },
          { label: "limit %", stroke: colour("bad"), dash: [6, 4], points: { show: false } }],
      }, columns, place);
      place.watch ||= new ResizeObserver(() => place.plot.setSize(size()));
      place.watch.observe(place);
    }
  }
  draw();
})();
