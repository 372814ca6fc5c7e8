// Everything here is an extra: each page works without it. Nothing is loaded from elsewhere.
"use strict";

const byId = (id) => document.getElementById(id);

// Letters that nobody would see, or that turn the direction of others, are spelled out, as the server does.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const visible = (text) => String(text).replace(HIDDEN, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);

// Copying an id ---------------------------------------------------------------------------------------------------

function showCopyButtons(root) {
  if (!navigator.clipboard) return; // Only there where the page is trusted: localhost or HTTPS.
  for (const button of root.querySelectorAll("button.copy")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
  } catch {
    button.textContent = "not copied";
  }
  setTimeout(() => { button.textContent = "copy"; }, 1500);
});

// A menu of the navigation closes where one goes elsewhere -----------------------------------------------------------

const menus = () => document.querySelectorAll("details.menu[open]");
for (const kind of ["click", "focusin"]) {
  document.addEventListener(kind, (event) => {
    for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// Filters: nothing of what is empty stands in the address ----------------------------------------------------------

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-filters]")) return;
  for (const field of event.target.elements) if (field.name && field.value === "") field.disabled = true;
});
window.addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("[data-filters] [disabled]")) field.disabled = false;
});

// A page that renews a part of itself ------------------------------------------------------------------------------

function keepFresh(part) {
  const pause = byId("pause");
  const state = byId("refresh-state");
  const period = Number(part.dataset.refresh) * 1000;
  let paused = false;
  let failures = 0;
  let was = part.innerHTML;
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume updates" : "Pause updates";
  });

  // What has the focus, and which tables are open, is the same afterwards.
  function renew(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").getElementById(part.id);
    if (!fresh || fresh.innerHTML === was) return;
    was = fresh.innerHTML;
    const open = [...part.querySelectorAll("details[open][id]")].map((details) => details.id);
    const scrolled = [...part.querySelectorAll(".scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
    const active = part.contains(document.activeElement) ? document.activeElement : null;
    const selector = 'a[href], button, summary, [tabindex]';
    const place = active ? [...part.querySelectorAll(selector)].indexOf(active) : -1;
    const href = active?.getAttribute("href");
    part.replaceChildren(...fresh.childNodes);
    for (const id of open) byId(id)?.setAttribute("open", "");
    [...part.querySelectorAll(".scroll")].forEach((box, index) => {
      if (scrolled[index]) [box.scrollLeft, box.scrollTop] = scrolled[index];
    });
    if (active) {
      const all = [...part.querySelectorAll(selector)];
      const same = href ? all.find((element) => element.getAttribute("href") === href) : all[place];
      same?.focus({ preventScroll: true });
    }
    showCopyButtons(part);
  }

  function renewAll(html) {
    renew(html);
    const drawn = new DOMParser().parseFromString(html, "text/html").getElementById("drawn");
    if (drawn) byId("drawn")?.replaceChildren(...drawn.childNodes);
  }

  async function turn() {
    const selecting = !document.getSelection().isCollapsed;
    if (!paused && !document.hidden && !selecting) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
        if (answer.redirected) { location.reload(); return; } // To the sign-in page.
        if (!answer.ok) throw new Error(String(answer.status));
        renewAll(await answer.text());
        if (failures > 0) state.textContent = "";
        failures = 0;
      } catch {
        failures += 1;
        if (failures === 2) state.textContent = "The server does not answer; trying again.";
      }
    }
    setTimeout(turn, period * Math.min(1 + failures, 6));
  }
  setTimeout(turn, period);
}

// How long ago something was, by the server's words -----------------------------------------------------------------

const LOADED = performance.now();
const DRAWN = Date.parse(document.querySelector("#drawn time")?.dateTime ?? "");

function agoText(ms) {
  if (Math.abs(ms) < 1000) return "now";
  const seconds = Math.floor(Math.abs(ms) / 1000);
  const text = seconds < 60 ? `${seconds} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min`
    : seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
  return ms > 0 ? `${text} ago` : `in ${text}`;
}

// The server's clock counts, not the browser's, which may stand still while the machine sleeps: what arrives moves it on.
let behind = 0;
const serverNow = () => DRAWN + behind + performance.now() - LOADED;
function arrivedAt(ms) {
  if (ms > serverNow()) behind += ms - serverNow();
}

function tellAges() {
  if (Number.isNaN(DRAWN) || document.hidden) return;
  const now = serverNow();
  for (const element of document.querySelectorAll(".ago[data-at]")) {
    const text = agoText(now - Number(element.dataset.at));
    if (element.textContent !== text) element.textContent = text;
  }
}

// The tail ---------------------------------------------------------------------------------------------------------

const ROWS_MAX = 500;

function cell(row, ...contents) {
  const td = document.createElement("td");
  td.append(...contents);
  row.append(td);
  return td;
}

function anId(text, href) {
  const bdi = document.createElement("bdi");
  bdi.className = "id";
  bdi.textContent = visible(text);
  if (!href) return bdi;
  const link = document.createElement("a");
  link.href = href;
  link.append(bdi);
  return link;
}

function badge(text, kind) {
  const span = document.createElement("span");
  span.className = `badge b-${kind}`;
  span.textContent = text;
  return span;
}

function lagText(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
  return `${Math.floor(ms / 60000)} min ${Math.floor((ms % 60000) / 1000)} s`;
}

// An id as a segment of a path: a browser takes "." and ".." for steps of the path, so they have a mark before them, as the
// server writes them.
function segment(id) {
  return (/^~*\.{1,2}$/.test(id) ? "~" : "") + encodeURIComponent(id);
}

function eventRow(event) {
  const row = document.createElement("tr");
  row.dataset.event = event.id;
  const time = document.createElement("time");
  time.dateTime = event.event_time;
  time.textContent = event.event_time.replace("T", " ").replace(/\.\d+Z$/, "").replace("Z", "");
  const ago = document.createElement("small");
  ago.className = "ago";
  ago.dataset.at = String(Date.parse(event.event_time));
  cell(row, time, " ", ago);
  cell(row, anId(event.command, `/events/${encodeURIComponent(event.id)}`));
  cell(row, badge(event.family.replaceAll("_", " "), event.family));
  const app = encodeURIComponent(event.sdk_app_id);
  const at = Date.parse(event.event_time);
  const subject = event.call_id || event.room_id;
  const value = encodeURIComponent(subject);
  const about = !subject ? "–"
    : event.family.startsWith("rtc_") ? anId(subject, `/rtc-room-sessions/${app}/${segment(subject)}?at=${at}`)
    : event.family !== "call" && !["room", "live", "mic"].includes(event.family) ? anId(subject, `/search?id=${value}`)
    : event.family === "call" ? anId(subject, event.call_id ? `/calls/${app}/${segment(subject)}` : `/calls?app=${app}&room=${value}`)
    : anId(subject, event.call_id ? `/search?id=${value}` : `/room-sessions/${app}/${segment(subject)}?at=${at}`);
  cell(row, about).className = "clip";
  const user = event.operator;
  cell(row, user ? anId(user, `/users/${app}/${segment(user)}`) : "–").className = "clip";
  const lag = Math.max(0, Date.parse(event.received_at) - at);
  const last = cell(row, lagText(lag));
  last.className = "num";
  if (lag >= 5000) last.append(" ", badge("late", "late"));
  if (event.decode_error) last.append(" ", badge("undecoded", "trouble"));
  return row;
}

function follow(table) {
  const rows = byId("tail-rows");
  const state = byId("tail-state");
  const waiting = byId("tail-waiting");
  const button = byId("tail-pause");
  const held = [];
  let dropped = 0;
  let paused = false;

  function show(events) {
    if (events.length === 0) return;
    byId("tail-empty")?.remove();
    const fresh = events.filter((event) => !rows.querySelector(`[data-event="${CSS.escape(event.id)}"]`));
    rows.prepend(...fresh.reverse().map(eventRow));
    while (rows.children.length > ROWS_MAX) rows.lastElementChild.remove();
    tellAges();
  }

  function tell() {
    waiting.textContent = paused && held.length > 0
      ? `${held.length} new${dropped > 0 ? `, ${dropped} older ones left out` : ""}` : "";
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Resume" : "Pause";
    if (!paused) { show(held.splice(0)); dropped = 0; }
    tell();
  });

  // Many that come at once are drawn once in a frame, so that a flood does not freeze the page.
  let batch = [];
  function take(message) {
    let event;
    try { event = JSON.parse(message.data); } catch { return; }
    if (!event.id || !event.command) return;
    last = message.lastEventId || last;
    const received = Date.parse(event.received_at);
    arrivedAt(received);
    if (paused) {
      held.push(event);
      if (held.length > ROWS_MAX) { held.shift(); dropped += 1; }
      tell();
      return;
    }
    batch.push(event);
    if (batch.length > ROWS_MAX) batch.shift();
    if (batch.length === 1) setTimeout(() => { const events = batch; batch = []; show(events); }, 100);
  }

  // A browser tries again by itself and says what it saw last; where it gives up for good, we begin again and say it.
  // The first time, that is what the page was drawn after. Where the server does not take it, we go on without.
  let last = table.dataset.after;
  function connect(goesOn) {
    const stream = new URL(table.dataset.stream, location.href);
    if (goesOn && last) stream.searchParams.set("last_event_id", last);
    const source = new EventSource(stream);
    let opened = false;
    source.onopen = () => { opened = true; state.textContent = "Live."; state.className = ""; };
    source.onerror = () => {
      state.textContent = "The connection is lost; trying again.";
      state.className = "trouble";
      if (source.readyState === EventSource.CLOSED) {
        source.close();
        setTimeout(connect, goesOn && !opened ? 500 : 3000, !goesOn || opened);
      }
    };
    source.onmessage = take;
    source.addEventListener("lagged", () => {
      state.textContent = "Live. Some events were missed; they stand under Events.";
    });
    window.addEventListener("pagehide", () => source.close(), { once: true });
  }
  state.textContent = "Connecting.";
  connect(true);
}

// ------------------------------------------------------------------------------------------------------------------

showCopyButtons(document);
const live = document.querySelector("[data-refresh]");
if (live) keepFresh(live);
else setInterval(tellAges, 5000);
const tail = document.querySelector("[data-stream]");
if (tail) follow(tail);
