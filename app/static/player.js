// The file itself: a video with the browser's own controls, a picture, or what can be shown of a file it cannot play.

import { h, write } from "./dom.js";
import { sourceOf, timelineOf } from "./jobs.js";
import { nearest } from "./segments.js";

export class Player {
  #item = null;
  #source = "";
  #view = null;
  #frame = 0;
  #at = 0;

  /** `onTime(seconds)` tells where the video is, on every frame while it plays. */
  constructor(onTime) {
    this.onTime = onTime;
    this.element = h("div.screen");
  }

  show(item) {
    const source = item.url ?? (item.jobId ? sourceOf(item.jobId) : "");
    if (item !== this.#item || source !== this.#source) this.#open(item, source);
    if (item.state === "done" && item.jobId) this.#captions(item);
    if (this.#view?.matches(".still")) this.#still(this.time);
  }

  get time() { return this.#view?.currentTime ?? this.#at; }

  /** Goes to a time. A file that cannot be played shows its nearest frame. */
  seek(time) {
    this.#at = time;
    if (this.#view?.matches("video")) {
      if (this.#view.readyState > 0) this.#view.currentTime = time;
      else this.#view.addEventListener("loadedmetadata", () => { this.#view.currentTime = time; }, { once: true });
    } else this.#still(time);
    this.onTime(time);
  }

  /** Plays or pauses a video. */
  toggle() {
    if (!this.#view?.matches("video")) return;
    if (this.#view.paused) this.#view.play().catch(() => {});
    else this.#view.pause();
  }

  #open(item, source) {
    cancelAnimationFrame(this.#frame);
    this.#item = item;
    this.#source = source;
    this.#at = 0;
    const type = item.file?.type ?? "";
    if (item.kind === "picture" || type.startsWith("image/")) this.#put(this.#picture(item, source));
    else if (source) this.#put(this.#video(item, source));
    else this.#unplayable("");
  }

  #put(view) {
    // A video that is taken out goes on to load, and holds one of the browser's few connections
    if (this.#view?.matches("video")) { this.#view.removeAttribute("src"); this.#view.load(); }
    this.#view = view;
    this.element.replaceChildren(view);
  }

  #picture(item, source) {
    const picture = h("img", { src: source, alt: item.name });
    picture.addEventListener("error", () => { if (this.#view === picture) this.#unplayable(""); });
    return picture;
  }

  #video(item, source) {
    const video = h("video", { controls: true, playsinline: true, preload: "auto", "aria-label": `Video: ${item.name}` });
    const cannot = () => {
      if (this.#view === video) this.#unplayable("Your browser does not play this format.");
    };
    video.addEventListener("error", cannot);
    // A file with sound alone, or with pictures in a codec that this browser has not, opens without an error.
    video.addEventListener("loadedmetadata", () => { if (video.videoWidth === 0) cannot(); });
    const tell = () => { if (this.#view === video) this.onTime(video.currentTime); };
    const follow = () => { tell(); if (!video.paused && !video.ended && this.#view === video) this.#frame = requestAnimationFrame(follow); };
    video.addEventListener("play", follow);
    for (const event of ["seeking", "seeked", "timeupdate"]) video.addEventListener(event, tell);
    video.src = source;
    return video;
  }

  /** The labels as subtitles, for who wants to see them in the picture; off until chosen. */
  #captions(item) {
    if (!this.#view?.matches("video") || this.#view.querySelector("track")) return;
    this.#view.append(h("track", { kind: "subtitles", label: "Labels", srclang: "en", src: timelineOf(item.jobId, "vtt") }));
  }

  #unplayable(words) {
    const suffix = /\.([a-z0-9]{1,5})$/i.exec(this.#item.name)?.[1].toUpperCase() ?? "FILE";
    this.#put(h("div.still", {}, h("img", { alt: "", hidden: true }), h("span.glyph", {}, suffix), h("p", {}, words)));
    this.#still(0);
  }

  #still(time) {
    const thumbnails = this.#item?.timeline?.thumbnails ?? [];
    const [picture, glyph] = this.#view?.children ?? [];
    if (!thumbnails.length || !glyph) return;
    const near = nearest(thumbnails, time);
    if (picture.getAttribute("src") !== near.url) picture.src = near.url;
    picture.hidden = false;
    glyph.hidden = true;
    write(this.#view.lastElementChild, "Your browser does not play this format: these are its frames.");
  }
}
