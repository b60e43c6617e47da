// The live tail: puts new calls on top as the server tells them. Without this file the page is a list with a link to look again.
(() => {
  const table = document.querySelector("#tail"), body = table.tBodies[0], state = document.querySelector("#tail-state"), pause = document.querySelector("#tail-pause");
  const MOST = 200;
  let source, held = [], paused = false;

  const say = (text, kind) => {
    if (state.textContent !== text) state.textContent = text;
    state.className = `tag t-${kind}`;
  };
  const label = () => {
    pause.firstChild.textContent = paused ? (held.length ? `Go on, ${held.length} new ` : "Go on ") : "Pause ";
    pause.setAttribute("aria-pressed", paused);
  };
  function put(rows) {
    body.querySelector(".none")?.remove();
    for (const old of body.querySelectorAll(".fresh")) old.classList.remove("fresh");
    // What came while the page was made is on it already.
    const fresh = rows.filter((row) => !row.id || !document.getElementById(row.id));
    for (const row of fresh) row.classList.add("fresh");
    body.prepend(...fresh);
    while (body.rows.length > MOST) body.lastElementChild.remove();
  }
  function take(event) {
    const made = document.createElement("template");
    made.innerHTML = event.data;
    const rows = [...made.content.querySelectorAll("tr")];
    if (!paused) return put(rows);
    held = [...rows, ...held].slice(0, MOST);
    label();
  }
  function toggle() {
    paused = !paused;
    if (!paused) put(held.splice(0));
    say(paused ? "paused" : "live", paused ? "warn" : "good");
    label();
  }
  function open() {
    source = new EventSource(table.dataset.src);
    source.onopen = () => say(paused ? "paused" : "live", paused ? "warn" : "good");
    source.onerror = () => (source.readyState === EventSource.CLOSED ? say("ended: sign in again, or too many are watching", "bad") : say("connecting", "mut"));
    source.addEventListener("calls", take);
  }
  pause.addEventListener("click", toggle);
  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "p" || event.ctrlKey || event.metaKey || event.altKey || /INPUT|TEXTAREA|SELECT/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
    toggle();
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
})();
