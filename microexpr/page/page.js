/* What the page does in the browser by itself: the drop zone, the timeline, the events and their flicker. */
"use strict";
(() => {
  const one = (place, selector) => place.querySelector(selector);
  const all = (place, selector) => [...place.querySelectorAll(selector)];
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  /* ---- upload ---- */
  function say(drop, words, kind) {
    const said = one(drop, ".me-said");
    said.textContent = words;
    said.className = "me-said" + (kind ? " me-" + kind : "");
  }

  /* A video that was there before stays where another one is refused: say so, for the button takes it. */
  function refuse(drop, words) {
    drop.classList.toggle("me-full", Boolean(drop.kept));
    say(drop, drop.kept ? `${words}. ${drop.kept} is still here.` : words, "wrong");
  }

  function send(drop, file) {
    const bar = one(drop, ".me-upload");
    if (drop.uploading) drop.uploading.abort();
    drop.uploading = null;
    bar.hidden = true;
    drop.classList.remove("me-full");
    if (file.size > Number(drop.dataset.most)) {
      const megabytes = Math.round(file.size / 1e6).toLocaleString("en");
      refuse(drop, `expected a video of at most ${drop.dataset.mostWords}, got one of ${megabytes} MB; cut it or use the command line`);
      return;
    }
    const request = new XMLHttpRequest();
    drop.uploading = request;
    request.open("POST", `/session/${drop.dataset.token}/video?name=${encodeURIComponent(file.name)}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => { one(bar, "progress").value = (100 * event.loaded) / event.total; };
    request.onloadend = () => {
      if (drop.uploading !== request) return;
      drop.uploading = null;
      bar.hidden = true;
      const answer = request.response || {};
      if (request.status === 200) {
        drop.kept = answer.name;
        drop.classList.add("me-full");
        say(drop, `${answer.name}: ${answer.words}`, "ready");
      } else {
        if (request.status === 410) drop.kept = "";
        refuse(drop, answer.error || "The upload broke off. Is microexpr app still running?");
      }
    };
    one(bar, "progress").value = 0;
    bar.hidden = false;
    say(drop, `Reading ${file.name}`);
    request.send(file);
  }

  document.addEventListener("change", (event) => {
    if (!event.target.matches(".me-file")) return;
    if (event.target.files.length) send(event.target.closest(".me-drop"), event.target.files[0]);
    event.target.value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer || ![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault(); /* beside the zone a dropped file would be opened in the place of the page */
      const drop = event.target.closest ? event.target.closest(".me-drop") : null;
      for (const zone of all(document, ".me-drop")) zone.classList.toggle("me-over", kind === "dragover" && zone === drop);
      if (kind === "drop" && drop && event.dataTransfer.files.length) send(drop, event.dataTransfer.files[0]);
    });
  }

  document.addEventListener("click", (event) => {
    const drop = event.target.closest && event.target.closest("#me-run") && one(document, ".me-drop");
    if (!drop || !drop.uploading) return;
    event.stopPropagation(); /* it would take the video before */
    say(drop, "The video is not whole yet: wait until it is read");
  }, true);

  /* A page that the browser kept, for its back button, has lost its files when it was left. */
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  /* A server that was ended can't say so. */
  setInterval(async () => {
    const working = one(document, ".me-working");
    if (!working || one(working, ".me-gone")) return;
    try { await fetch("/page/page.css", { cache: "no-store" }); } catch {
      working.innerHTML = '<p class="me-message me-wrong me-gone" role="alert">microexpr app does not answer. Is it still running? Start it and load the page again.</p>';
    }
  }, 4000);

  /* ---- timeline ---- */
  function point(chart, place) {
    const points = chart.points || (chart.points = JSON.parse(chart.dataset.points));
    const [start, end, peak] = ["start", "end", "peak"].map((name) => Number(chart.dataset[name]));
    const at = Math.max(0, Math.min(points.length - 1, place));
    chart.at = at;
    const [seconds, strength, threshold] = points[at];
    const left = (100 * (seconds - start)) / (end - start);
    const cursor = one(chart, ".me-cursor"), readout = one(chart, ".me-readout");
    cursor.hidden = readout.hidden = false;
    cursor.style.left = left + "%";
    readout.style.left = Math.max(9, Math.min(91, left)) + "%";
    readout.textContent = strength === null ? `${seconds.toFixed(3)} s: no face` :
      `${seconds.toFixed(3)} s: ${strength.toFixed(2)} px` + (threshold === null ? "" : `, threshold ${threshold.toFixed(2)}`);
    return [seconds, strength, peak];
  }

  function nearest(chart, x) {
    const points = chart.points || (chart.points = JSON.parse(chart.dataset.points));
    const box = chart.getBoundingClientRect();
    const start = Number(chart.dataset.start), end = Number(chart.dataset.end);
    const wanted = start + ((x - box.left) / box.width) * (end - start);
    let low = 0, high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < wanted) low = middle; else high = middle;
    }
    return wanted - points[low][0] < points[high][0] - wanted ? low : high;
  }

  document.addEventListener("pointermove", (event) => {
    const chart = event.target.closest ? event.target.closest(".me-chart") : null;
    if (chart) point(chart, nearest(chart, event.clientX));
  });
  document.addEventListener("pointerout", (event) => {
    const chart = event.target.closest ? event.target.closest(".me-chart") : null;
    if (chart && !chart.contains(event.relatedTarget)) one(chart, ".me-cursor").hidden = one(chart, ".me-readout").hidden = true;
  });
  document.addEventListener("keydown", (event) => {
    if (!event.target.matches || !event.target.matches(".me-chart")) return;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -25, PageDown: 25, Home: -1e9, End: 1e9 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    point(event.target, (event.target.at || 0) + step * (event.shiftKey ? 10 : 1));
  });

  /* ---- events ---- */
  function choose(result, number) {
    for (const panel of all(result, "[data-panel]")) panel.hidden = panel.dataset.panel !== number;
    for (const row of all(result, "tr[data-event]")) row.classList.toggle("me-chosen", row.dataset.event === number);
    for (const mark of all(result, "button[data-event]")) {
      if (mark.dataset.event === number) mark.setAttribute("aria-current", "true"); else mark.removeAttribute("aria-current");
    }
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest ? event.target : null;
    if (!target) return;
    const chosen = target.closest("[data-event]");
    if (chosen) choose(chosen.closest(".me-result"), chosen.dataset.event);
    const flicker = target.closest(".me-flicker");
    if (flicker) {
      const faces = flicker.closest(".me-faces");
      faces.dataset.flicker = flickers(faces) ? "off" : "on";
      turn(faces, faces.dataset.flicker === "on");
    }
  });

  /* ---- flicker and slider ---- */
  const flickers = (faces) => faces.dataset.flicker === "on" || (faces.dataset.flicker === "auto" && !still.matches);

  function show(faces, share) {
    faces.style.setProperty("--peak", share);
    one(faces, ".me-slider").value = 100 * share;
  }

  function turn(faces, on) {
    one(faces, ".me-flicker").setAttribute("aria-pressed", on);
    one(faces, ".me-flicker").textContent = on ? "Stop" : "Flicker";
  }

  document.addEventListener("input", (event) => {
    if (event.target.matches(".me-slider")) {
      const faces = event.target.closest(".me-faces");
      faces.dataset.flicker = "off";
      turn(faces, false);
      show(faces, event.target.value / 100);
    }
    if (event.target.matches(".me-filter")) {
      const words = event.target.value.toLowerCase().split(/\s+/);
      for (const row of all(document, ".me-runs tbody tr")) {
        row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
      }
    }
  });
  let peak = false;
  setInterval(() => {
    peak = !peak;
    for (const faces of all(document, ".me-event:not([hidden]) .me-faces")) {
      if (!flickers(faces)) continue;
      turn(faces, true);
      show(faces, peak ? 1 : 0);
    }
  }, 650);

  /* ---- the whole video is loaded when it is opened, so that it can be moved through at once ---- */
  document.addEventListener("toggle", (event) => {
    const film = event.target.matches && event.target.matches(".me-annotated[open]") && one(event.target, "video");
    if (film) film.preload = "auto";
  }, true);

  /* ---- live: the server watches, the page asks it what there is to see ---- */
  const LOOK = 250;
  let looking = 0; /* the number of the run whose answers are drawn */

  async function asked(what, given, method = "GET") {
    const token = one(document, ".me-drop").dataset.token;
    try {
      const answer = await fetch(`/session/${token}/live/${what}?${new URLSearchParams(given)}`, { method });
      const content = await answer.json();
      return answer.ok ? content : { error: content.error || "The page got no answer. Load it again." };
    } catch {
      return { error: "microexpr app does not answer. Is it still running?" };
    }
  }

  function tell(view, words, wrong) {
    const said = one(view, ".me-live-said");
    if (said.textContent !== words) said.textContent = words;
    said.className = "me-live-said" + (wrong ? " me-message me-wrong" : "");
  }

  function turned(view, state) {
    const runs = state === "waiting" || state === "working";
    view.dataset.state = state;
    const start = one(view, ".me-start"), stop = one(view, ".me-stop"), had = document.activeElement;
    start.disabled = runs;
    stop.disabled = !runs;
    if (had === start && runs) stop.focus(); /* a disabled button would lose the keyboard */
    if (had === stop && !runs) start.focus();
  }

  function drawn(view, seen) {
    if (!seen.numbers) return;
    one(view, ".me-live-now").hidden = false;
    for (const [name, words] of Object.entries(seen.numbers)) one(view, `[data-number="${name}"]`).textContent = words;
    if (seen.picture) one(view, ".me-preview img").src = seen.picture;
    const caption = one(view, ".me-preview figcaption"), words = seen.face ? "the face" : "no face: the whole picture";
    if (caption.textContent !== words) caption.textContent = words;
    const chart = one(view, ".me-chart"), lanes = one(view, ".me-lanes");
    one(chart, ".me-drawn").innerHTML = seen.chart.html;
    lanes.innerHTML = seen.chart.lanes;
    lanes.style.height = `${1.9 * Math.max(1, seen.chart.rows)}rem`; /* steady: a row is always there */
    for (const name of ["points", "start", "end", "peak"]) chart.dataset[name] = seen.chart[name];
    chart.points = null;
    if (seen.events !== undefined) {
      one(view, "tbody").innerHTML = seen.events;
      view.dataset.count = seen.count;
    }
  }

  async function look(view, run) {
    while (run === looking) {
      const seen = await asked("now", { events: view.dataset.count || "" });
      if (run !== looking) return;
      const state = seen.error ? "failed" : seen.state;
      tell(view, seen.error || [seen.words, ...(seen.warnings || [])].filter(Boolean).join(" Note: "), state === "failed");
      turned(view, state);
      drawn(view, seen);
      if (state !== "waiting" && state !== "working") return;
      await new Promise((done) => setTimeout(done, LOOK));
    }
  }

  document.addEventListener("submit", async (event) => {
    if (!event.target.matches(".me-live-form")) return;
    event.preventDefault();
    const view = event.target.closest(".me-live"), given = new FormData(event.target);
    if (view.dataset.state === "waiting" || view.dataset.state === "working") return;
    const run = ++looking;
    turned(view, "waiting");
    tell(view, "Starting");
    view.dataset.count = "";
    one(view, ".me-live-now").hidden = true;
    const asking = { source: given.get("me-source"), camera: given.get("me-camera"), fps: given.get("me-rate") };
    const answer = await asked("start", asking, "POST");
    if (answer.error) {
      tell(view, answer.error, true);
      turned(view, "failed");
    } else {
      look(view, run);
    }
  });
  document.addEventListener("click", (event) => {
    const stop = event.target.closest && event.target.closest(".me-stop");
    if (stop) asked("stop", {}, "POST");
  });
  document.addEventListener("input", (event) => {
    if (!event.target.matches('[name="me-camera"], [name="me-rate"]')) return;
    one(event.target.closest("form"), '[value="camera"]').checked = true;
  });
})();
