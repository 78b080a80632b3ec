"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Times in the reader's zone; the page has them in UTC.
  const shown = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  function localize(root) {
    for (const time of all("time[datetime]", root)) {
      if (time.dataset.utc) continue;
      time.dataset.utc = time.textContent;
      time.title = time.textContent;
      time.textContent = shown.format(new Date(time.dateTime));
    }
  }

  const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const days = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  function localizeCharts(root) {
    for (const label of all("[data-time]", root)) {
      const at = new Date(label.dataset.time);
      const rest = label.dataset.rest;
      const form = label.dataset.form === "day" ? days : rest ? shown : hours;
      label.textContent = rest ? `${form.format(at)}: ${rest}` : form.format(at);
    }
  }

  // Filters are written in the reader's zone and sent in UTC.
  function prepareTimes(root) {
    for (const field of all("input[data-local-time]", root)) {
      const hidden = one(`input[name="${field.dataset.localTime}"]`, field.form);
      if (!hidden || field.dataset.ready) continue;
      field.dataset.ready = "yes";
      if (hidden.value) {
        const at = new Date(hidden.value);
        if (!Number.isNaN(at.getTime())) {
          const here = new Date(at.getTime() - at.getTimezoneOffset() * 60000);
          field.value = here.toISOString().slice(0, 16);
        }
      }
      field.addEventListener("change", () => {
        hidden.value = field.value ? new Date(field.value).toISOString() : "";
      });
    }
  }

  // A day begins and ends in the reader's zone; it is sent in UTC.
  function findDay(choice, day) {
    const now = new Date();
    if (choice === "yesterday") {
      return [1, 0].map((back) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - back));
    }
    if (choice !== "date" || !day) return null;
    const [year, month, number] = day.split("-").map(Number);
    return [0, 1].map((on) => new Date(year, month - 1, number + on));
  }
  function prepareDays(root) {
    for (const choice of all("[data-days]", root)) {
      if (choice.dataset.ready) continue;
      choice.dataset.ready = "yes";
      const form = choice.form;
      const day = one('input[type="date"]', form);
      const offer = () => { day.hidden = choice.value !== "date"; day.required = !day.hidden; };
      offer();
      choice.addEventListener("change", offer);
      form.addEventListener("submit", () => {
        const bounds = findDay(choice.value, day.value);
        ["since", "until"].forEach((name, at) => {
          one(`input[name="${name}"]`, form).value = bounds ? bounds[at].toISOString() : "";
        });
      });
    }
    for (const link of all("a[data-yesterday]", root)) {
      const address = new URL(link.href);
      findDay("yesterday").forEach((time, at) => {
        address.searchParams.set(["since", "until"][at], time.toISOString());
      });
      link.href = address.href;
    }
  }

  // What scrolls sideways can be reached by the keyboard, and only that. A box that was hidden, in
  // a closed list say, gets its width when it is shown; a table may grow within a box that does not.
  const widths = new ResizeObserver((changes) => {
    for (const change of changes) {
      const box = change.target.closest(".scroll");
      if (!box) continue;
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  });
  function prepareScrolling() {
    for (const box of all(".scroll, .scroll > *")) widths.observe(box);
  }

  function prepare(root) {
    localize(root);
    localizeCharts(root);
    prepareTimes(root);
    prepareDays(root);
    prepareScrolling();
  }

  // What went wrong with a request of a part of the page.
  function say(words) {
    const notice = one("#notice");
    notice.textContent = words;
    notice.hidden = !words;
  }

  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["x-csrf-token"] = one('meta[name="form-token"]').content;
  });
  document.addEventListener("htmx:responseError", (event) => {
    say(`The server answered with ${event.detail.xhr.status}. What you see may be out of date.`);
  });
  document.addEventListener("htmx:sendError", () => {
    say("The server cannot be reached. What you see may be out of date.");
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    say("");
    prepare(document);
    const mark = event.detail.target.dataset.selected;
    const row = mark && one(`[data-row="${CSS.escape(mark)}"]`);
    if (row) row.classList.add("selected");
  });
  // A list that renews itself waits while nobody looks, or while somebody works in it.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const list = event.detail.elt;
    if (!list.hasAttribute("data-live") || event.detail.requestConfig.triggeringEvent) return;
    const pause = one("#live-on");
    const busy = list.contains(document.activeElement) || (pause && !pause.checked);
    if (document.hidden || busy) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) one(`#${opener.dataset.open}`).showModal();
    const place = event.target.closest("[data-line]");
    if (place) goToLine(Number(place.dataset.line));
    const row = event.target.closest("tr[data-row]");
    if (row && !event.target.closest("a, button, input, label")) {
      const link = one("a[href]", row);
      if (link && !String(getSelection())) link.click();
    }
  });
  // A mistake leads to its line of the text.
  function goToLine(number) {
    const field = one("textarea#text");
    if (!field) return;
    const lines = field.value.split("\n");
    const start = lines.slice(0, number - 1).reduce((sum, line) => sum + line.length + 1, 0);
    field.focus();
    field.setSelectionRange(start, start + (lines[number - 1] || "").length);
    field.scrollTop = (field.scrollHeight / lines.length) * Math.max(0, number - 4);
  }
  // A link into a folded part opens it.
  function unfold() {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const folded = target && target.closest("details");
    if (folded && !folded.open) {
      folded.open = true;
      target.scrollIntoView();
    }
  }
  addEventListener("hashchange", unfold);
  unfold();
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-go]")) location.href = event.target.value;
  });

  // A slider says in words where it stands.
  document.addEventListener("input", (event) => {
    const { words, said } = event.target.dataset;
    if (!words) return;
    const here = JSON.parse(words)[Number(event.target.value)];
    event.target.setAttribute("aria-valuetext", here);
    one(`#${CSS.escape(said)}`).textContent = here;
  });

  // A picture goes as a data URL in a field, in the alphabet that forms carry as it is.
  function showPicture(drop, file) {
    const field = one(`input[name="${drop.dataset.picture}"]`, drop.closest("form"));
    const shown = one("img", drop);
    const words = one("[data-picture-words]", drop);
    field.value = "";
    shown.hidden = true;
    if (!file) return;
    const most = Number(drop.dataset.mostBytes);
    if (!file.type.startsWith("image/") || file.size > most) {
      words.textContent = file.size > most
        ? `This file has more than ${Math.floor(most / 1e6)} MB: drop a smaller one.`
        : "This file is not a picture.";
      return;
    }
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      const [head, data] = reader.result.split(",");
      field.value = `${head},${data.replaceAll("+", "-").replaceAll("/", "_")}`;
      shown.src = reader.result;
      shown.hidden = false;
      words.textContent = file.name;
    });
    reader.readAsDataURL(file);
  }
  for (const drop of all("[data-picture]")) {
    const input = one("input[type=file]", drop);
    input.addEventListener("change", () => showPicture(drop, input.files[0]));
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      showPicture(drop, event.dataTransfer.files[0]);
    });
  }

  // A form whose answer comes in lines, each of which replaces the one before.
  async function sendStreamed(form) {
    const target = one(`#${form.dataset.stream}`);
    const [send, stop] = [one("button.primary", form), one("[data-stop]", form)];
    const ending = new AbortController();
    stop.onclick = () => ending.abort();
    const show = (busy) => {
      form.classList.toggle("htmx-request", busy);
      send.disabled = busy;
      stop.hidden = !busy;
      if (!busy && document.activeElement === document.body) send.focus();
    };
    say("");
    show(true);
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { "hx-request": "true" },
        signal: ending.signal,
      });
      const elsewhere = answer.headers.get("hx-redirect");
      if (elsewhere) {
        location.href = elsewhere;
      } else if (answer.headers.get("content-type") === "application/x-ndjson") {
        await showLines(answer.body, target);
      } else {
        say(`The server answered with ${answer.status}. What you see may be out of date.`);
      }
    } catch {
      if (ending.signal.aborted) target.textContent = "It was cancelled.";
      else say("The connection broke off, and with it what was under way.");
    } finally {
      show(false);
    }
  }
  async function showLines(body, target) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      if (!lines.length) continue;
      target.innerHTML = JSON.parse(lines.at(-1));  // escaped by the server; runs no scripts
      prepare(document);
    }
  }
  for (const form of all("form[data-stream]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sendStreamed(form);
    });
  }

  // Shortcuts of a single key can be turned off (WCAG 2.1.4).
  const keysOn = one("#keys-on");
  keysOn.checked = localStorage.getItem("guardrail-keys") !== "off";
  keysOn.addEventListener("change", () => {
    localStorage.setItem("guardrail-keys", keysOn.checked ? "on" : "off");
  });
  let awaitsPlace = false;
  function move(step) {
    const rows = all("[data-row]");
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("selected"));
    const next = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + step))];
    for (const row of rows) row.classList.toggle("selected", row === next);
    const list = next.closest("[data-live]");
    if (list) list.dataset.selected = next.dataset.row;
    next.scrollIntoView({ block: "nearest" });
  }
  function follow(selector) {
    const link = one(selector);
    if (link) link.click();
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keysOn.checked) return;
    if (event.target.closest("input, textarea, select, dialog[open]")) return;
    if (awaitsPlace) {
      awaitsPlace = false;
      follow(`nav a[data-key="${CSS.escape(event.key)}"]`);
      return;
    }
    switch (event.key) {
      case "?": one("#keys-help").showModal(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "n": follow("a[rel=next]"); break;
      case "p": follow("a[rel=prev]"); break;
      case "g": awaitsPlace = true; break;
      case "/": {
        const field = one("[data-first-filter]");
        if (!field) return;
        const folded = field.closest("details");
        if (folded) folded.open = true;
        field.focus();
        break;
      }
      case "Enter": {
        if (event.target.closest("a, button, summary")) return;
        follow(".selected a[href]");
        break;
      }
      default: {
        const own = one(`[data-hotkey="${CSS.escape(event.key)}"]`);
        if (!own || event.repeat) return;
        own.click();
      }
    }
    event.preventDefault();
  });

  prepare(document);
})();
