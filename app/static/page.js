// Sends the form without leaving the page: drop or choose, watch the upload, and put the answer in its place.
// The server answers with the same page as it gives without JavaScript; the two parts that differ are taken from it.
"use strict";

document.documentElement.classList.add("js");

// An upload that moves no byte, or an answer that does not come, for this long is given up.
const STALLED_AFTER_MS = 60_000;
const UNANSWERED_AFTER_MS = 180_000;

document.addEventListener("DOMContentLoaded", () => {
  const $ = (id) => document.getElementById(id);
  const form = $("upload"), input = $("file"), progress = $("progress"), preview = $("preview");
  const problems = JSON.parse($("problems").textContent);
  let sending = null;

  const say = (text) => { $("status").textContent = text; };
  const fill = (id, template) => $(id).replaceChildren($(template).content.cloneNode(true));
  const busy = () => form.dataset.state === "uploading" || form.dataset.state === "analysing";

  function enter(state, note) {
    form.dataset.state = state;
    $("file-note").textContent = note;
    $("answer").setAttribute("aria-busy", String(busy()));
    for (const select of form.querySelectorAll("select")) select.disabled = busy();
    // The well holds the input that is under the preview: the keyboard skips it, "Choose another" is at hand instead.
    input.tabIndex = state === "empty" ? 0 : -1;
  }

  // ---- sending

  function start(file) {
    if (sending) sending.stop();
    show(file);
    const limit = Number(form.dataset.maxBytes);
    if (limit && file.size > limit) return fail("too_large", `It has ${size(file.size)}; up to ${form.dataset.limit} are taken.`);
    if (file.size === 0) return fail("empty_file", "");
    fill("answer", "when-waiting");
    fill("details", "when-quiet");
    progress.value = 0;
    enter("uploading", "0 %");
    say(`Uploading ${file.name}`);
    sending = send(file);
  }

  function send(file) {
    // The choices go before the file, as in the form itself; a disabled select would be left out of FormData.
    const body = new FormData();
    for (const select of form.querySelectorAll("select")) body.append(select.name, select.value);
    body.append("file", file, file.name);
    const request = new XMLHttpRequest();
    const began = performance.now();
    let uploaded = null, timer = 0, over = false;

    const finish = (then) => (...values) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      sending = null;
      then(...values);
    };
    const lost = finish(() => { request.abort(); fail("no_connection", ""); });
    const patience = (ms) => { clearTimeout(timer); timer = setTimeout(lost, ms); };

    request.upload.addEventListener("progress", (event) => {
      if (over || uploaded !== null) return;
      patience(STALLED_AFTER_MS);
      const share = event.total ? event.loaded / event.total : 0;
      progress.value = share;
      $("file-note").textContent = remaining(share, event.total, performance.now() - began);
    });
    request.upload.addEventListener("load", () => {
      if (over) return;
      uploaded = performance.now() - began;
      patience(UNANSWERED_AFTER_MS);
      progress.removeAttribute("value");
      enter("analysing", "Analysing");
      const slot = document.querySelector("[data-slot=waiting]");
      if (slot) slot.textContent = "Looking at the frames";
      say("Uploaded. Analysing.");
    });
    request.addEventListener("load", finish(() => take(request, uploaded)));
    request.addEventListener("error", lost);
    request.open("POST", form.action);
    patience(STALLED_AFTER_MS);
    request.send(body);
    return { stop: finish(() => request.abort()) };
  }

  // ---- the answer

  function take(request, uploaded) {
    const type = request.getResponseHeader("Content-Type") || "";
    if (!type.startsWith("text/html")) return refuse(request);
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    const answer = page.getElementById("answer"), details = page.getElementById("details");
    if (!answer || !details) return fail("", "");
    $("answer").replaceChildren(...answer.childNodes);
    $("details").replaceChildren(...details.childNodes);
    document.title = page.title;
    const good = request.status === 200;
    if (good && uploaded !== null) {
      $("sent").hidden = false;
      $("sent").querySelector("b").textContent = uploaded < 1000 ? `${uploaded.toFixed(0)} ms` : `${(uploaded / 1000).toFixed(1)} s`;
    }
    settle(good ? "done" : "failed");
  }

  // nginx and a service that is going down answer in JSON, whoever asks.
  function refuse(request) {
    try {
      const { code, message, request_id: id } = JSON.parse(request.responseText).error;
      fail(code, message, id);
    } catch {
      fail("", "");
    }
  }

  function fail(code, message, id = "") {
    fill("answer", "when-problem");
    fill("details", "when-quiet");
    const [title, advice] = problems[code] || problems[""];
    const slot = (name) => document.querySelector(`#answer [data-slot="${name}"]`);
    slot("title").textContent = title;
    slot("title").dataset.code = code;
    slot("message").textContent = sentence(message);
    slot("advice").textContent = advice;
    slot("request-id").textContent = id;
    slot("request").hidden = !id;
    document.title = `${title} · Clipstack`;
    settle("failed");
  }

  function settle(state) {
    enter(state, $("file-name").dataset.size || "");
    const video = preview.querySelector("video");
    const title = $("answer-title");
    if (video) {
      video.controls = true;
      // The preview stands where the model looked.
      if (title.dataset.start && video.readyState > 0) video.currentTime = Number(title.dataset.start);
    }
    say("");
    title.focus({ preventScroll: true });
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("answer").scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  }

  // ---- the file in view

  function show(file) {
    clear();
    $("file-name").textContent = file.name;
    $("file-name").title = file.name;
    $("file-name").dataset.size = size(file.size);
    preview.hidden = false;
    const kind = file.type.split("/")[0];
    const view = document.createElement(kind === "image" ? "img" : "video");
    const glyph = () => {
      const mark = document.createElement("span");
      mark.className = "glyph";
      mark.textContent = /\.([a-z0-9]{1,5})$/i.exec(file.name)?.[1].toUpperCase() || "FILE";
      preview.replaceChildren(mark);
    };
    if (kind === "image") view.alt = "Your picture";
    else Object.assign(view, { muted: true, playsInline: true, preload: "auto" });
    view.addEventListener("error", glyph);
    // A file with sound alone, or with pictures in a codec that this browser has not, opens without an error.
    view.addEventListener("loadedmetadata", () => { if (view.videoWidth === 0) glyph(); });
    view.src = URL.createObjectURL(file);
    preview.replaceChildren(view);
  }

  function clear() {
    const view = preview.querySelector("[src]");
    if (view) URL.revokeObjectURL(view.src);
    preview.replaceChildren();
    preview.hidden = true;
    $("file-name").textContent = "Nothing was sent";
    $("file-name").removeAttribute("title");
    $("file-name").dataset.size = "";
  }

  function reset() {
    clear();
    fill("answer", "when-empty");
    fill("details", "when-quiet");
    enter("empty", "");
    input.focus({ preventScroll: true });
  }

  // ---- what a person does

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.files.length) start(input.files[0]);
  });
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (file) start(file);
    // Without this, choosing the same file again would be no change.
    input.value = "";
  });
  $("cancel").addEventListener("click", () => {
    if (sending) sending.stop();
    say("Cancelled");
    reset();
  });
  $("again").addEventListener("click", () => input.click());

  // dragenter and dragleave come for every element on the way: only their balance tells whether the page is left.
  let depth = 0;
  const drag = (change) => {
    depth = Math.max(0, depth + change);
    form.toggleAttribute("data-dragging", depth > 0);
  };
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => { if (carriesFile(event)) { event.preventDefault(); drag(1); } });
  addEventListener("dragleave", (event) => { if (carriesFile(event)) drag(-1); });
  addEventListener("dragover", (event) => { if (carriesFile(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    drag(-depth);
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const folder = items.some((item) => item.webkitGetAsEntry?.()?.isDirectory);
    const { files } = event.dataTransfer;
    if (files.length === 1 && !folder) return start(files[0]);
    if (sending) sending.stop();
    clear();
    fail(files.length > 1 ? "too_many_files" : "not_a_file", "");
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files || [];
    if (file) start(file);
  });

  // ---- words and figures

  function sentence(text) {
    return text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
  }

  function size(bytes) {
    if (bytes < 1000) return `${bytes} bytes`;
    let value = bytes;
    for (const unit of ["kB", "MB", "GB"]) {
      value /= 1000;
      if (value < 999.5 || unit === "GB") return `${value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
    }
  }

  function remaining(share, total, elapsed) {
    const percent = `${Math.floor(share * 100)} %`;
    // The first second tells too little of the speed to promise anything.
    if (elapsed < 1000 || share <= 0) return percent;
    const seconds = Math.ceil(elapsed / 1000 * (1 - share) / share);
    if (seconds < 1) return percent;
    return `${percent} · ${seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`} left`;
  }
});
