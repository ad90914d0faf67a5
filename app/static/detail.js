// One file in full: the player with the timeline under it, the answer, and the cards.

import { Actions } from "./actions.js";
import { answerCard } from "./answer.js";
import { factsCard, framesCard, terminalCard, timesCard } from "./cards.js";
import { h, icon, set, write } from "./dom.js";
import * as jobs from "./jobs.js";
import { Player } from "./player.js";
import { SimilarMoments } from "./similar.js";
import { SegmentList } from "./segment_list.js";
import { nextDoubtful } from "./segments.js";
import { stateWords } from "./state.js";
import { Timeline } from "./timeline.js";

const STEP_S = 5; // of the keys J and L
// Errors that the same file would get again
const FINAL = ["unsupported_media", "undecodable", "no_video_stream", "limit_exceeded", "empty_file", "too_large"];

export class Detail {
  item = null;

  /** Shows itself in `element`, in the place of what stands there while no file is chosen. */
  constructor(element, { onCancel, onRetry, onReplace, onRemove, onOther, onMoment, otherModel }) {
    this.place = element;
    this.empty = [...element.children];
    this.player = new Player((time) => this.#at(time));
    this.timeline = new Timeline({ onSeek: (time) => this.player.seek(time), loadWindows: () => jobs.windows(this.item.jobId) });
    this.similar = new SimilarMoments(onMoment);
    this.segments = new SegmentList({
      onSeek: (time) => this.player.seek(time), onSimilar: (segment) => this.similar.show(segment), offers: SimilarMoments.offered });
    this.title = h("h2.stage-title", { id: "detail-title", tabindex: -1 });
    this.state = h("p.state-chip");
    const button = (words, act) => h("button.button.small", { type: "button", onclick: () => act(this.item) }, words);
    this.cancel = button("Cancel", onCancel);
    this.retry = button("Try again", onRetry);
    this.replace = button("Choose another", onReplace);
    this.actions = new Actions((item) => onRemove(item));
    this.other = button("", onOther);
    this.otherModel = otherModel;
    this.problem = h("div.problem", { hidden: true });
    this.stage = h("section.card.stage", { "aria-labelledby": "detail-title" },
      h("div.stage-head", {}, this.title, this.state, this.cancel, this.retry, this.replace, this.other, this.actions.element),
      this.player.element, this.timeline.element, this.problem);
    this.#listen();
    this.cards = {};
    for (const name of ["answer", "frames", "times", "facts", "terminal"]) {
      this.cards[name] = h("section.card", { class: `card card-${name}` });
    }
    this.grid = h("div.details", {}, this.cards.answer, this.cards.facts, this.segments.element, this.similar.element, this.cards.frames, this.cards.times, this.cards.terminal);
  }

  /** Space and K play and pause, J and L go back and forward, N goes to the next doubtful segment. */
  #listen() {
    const keys = {
      " ": () => this.player.toggle(), k: () => this.player.toggle(),
      j: () => this.player.seek(Math.max(0, this.player.time - STEP_S)), l: () => this.player.seek(this.player.time + STEP_S),
      n: () => this.#nextDoubtful(),
    };
    addEventListener("keydown", (event) => {
      const act = keys[event.key.toLowerCase()];
      // Space also presses what has the focus
      const busy = event.target.closest(`input, select, textarea, dialog${event.key === " " ? ", button, summary, a, video, [role=button]" : ""}`);
      if (!act || !this.item || busy || event.ctrlKey || event.altKey || event.metaKey) return;
      act();
      event.preventDefault();
    });
  }

  #nextDoubtful() {
    const segments = this.item.timeline?.segments ?? [];
    const index = nextDoubtful(segments, this.player.time);
    if (index >= 0) this.player.seek(segments[index].start_s);
  }

  /** Shows an item, or nothing. */
  show(item) {
    this.item = item;
    this.place.replaceChildren(...(item ? [this.stage, this.grid] : this.empty));
    if (item) this.update();
  }

  update() {
    const { item } = this;
    write(this.title, item.name);
    set(this.title, { title: item.name });
    write(this.state, stateWords(item, true));
    set(this.state, { "data-state": item.state });
    this.cancel.hidden = !item.active;
    const refused = FINAL.includes(item.problem?.code);
    this.retry.hidden = item.active || item.state === "done" || !item.file || refused;
    this.replace.hidden = !refused;
    this.actions.update(item);
    const other = this.otherModel(item);
    this.other.hidden = !other;
    write(this.other, other ? `Analyse with ${other.title}` : "");
    const { timeline } = item;
    // An error stands alone: there is nothing to play
    this.player.element.hidden = Boolean(item.problem) && !timeline;
    if (!this.player.element.hidden) this.player.show(item);
    this.timeline.element.hidden = !timeline && !(item.asJob && item.active);
    this.timeline.update(timeline, item.palette);
    if (timeline) this.#at(this.player.time);
    this.segments.update(item);
    this.similar.update(item);
    this.#problem();
    this.#cards();
  }

  #at(time) {
    this.timeline.playhead(time);
    this.segments.here(time);
  }

  #problem() {
    const { problem } = this.item;
    this.problem.hidden = !problem;
    if (this.shownProblem === problem) return;
    this.shownProblem = problem;
    if (!problem) return;
    this.problem.dataset.code = problem.code;
    this.problem.replaceChildren(icon("alert"),
      h("div", {}, h("h3", {}, problem.title), problem.message ? h("p", {}, problem.message) : null, h("p.quiet", {}, problem.advice),
        problem.requestId ? h("p.quiet", {}, "Request ", h("code", {}, problem.requestId)) : null));
  }

  /** Builds each card whose facts have changed; the others stay, and with them the focus. */
  #cards() {
    const { item } = this;
    const { timeline, record, result } = item;
    const seen = Boolean(result) || Boolean(timeline && (timeline.segments.length || item.state === "done"));
    const seek = (time) => this.player.seek(time);
    this.#card("answer", seen, [timeline?.segments, item.state], () => answerCard(item, (name) => this.timeline.highlight(name)));
    this.#card("times", seen && (result || record?.timing_s), [record?.timing_s, item.state], () => timesCard(item));
    this.#card("frames", result?.thumbnails?.length || timeline?.thumbnails.length, [timeline?.thumbnails, item.state], () => framesCard(item, seek));
    // What is known of a file under way waits for the answer, which stands before it and would push it down.
    this.#card("facts", item.media && (seen || !item.active), [item.media], () => factsCard(item));
    this.#card("terminal", !item.active && !item.problem, [item.state], () => terminalCard(item));
  }

  #card(name, wanted, facts, build) {
    const card = this.cards[name];
    card.hidden = !wanted;
    const key = wanted ? `${this.item.number} ${JSON.stringify(facts)}` : "";
    if (card.key === key) return;
    card.key = key;
    card.replaceChildren(...(wanted ? build().filter(Boolean) : []));
  }
}
