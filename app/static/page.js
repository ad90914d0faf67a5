// The page: files come in, the queue sends them, the lists and the detail show them.

import { Choices } from "./choices.js";
import { Detail } from "./detail.js";
import { ask, notice } from "./dialogs.js";
import { takeFiles } from "./drop.js";
import { write } from "./dom.js";
import { ACTIVE } from "./jobs.js";
import { Lists } from "./lists.js";
import { Problem } from "./problems.js";
import { Queue } from "./queue.js";
import { unfinished } from "./resumable.js";
import { stateWords } from "./state.js";

const POLL_MS = 1000; // while something is under way
const IDLE_MS = 15_000;
const HISTORY = "history"; // names the earlier jobs in the address

const $ = (id) => document.getElementById(id);
const form = $("upload");
$("file").multiple = true; // without JavaScript one file is sent at a time
const queue = new Queue({ limit: Number(form.dataset.maxBytes), limitWords: form.dataset.limit });
const choices = new Choices(form);
let following = null;

const say = (text) => write($("status"), text);

// ---- what a person can do with an item

const tell = (error) => notice(error instanceof Problem ? error : new Problem(""));
const acts = {
  onOpen: (item) => choose(item, true),
  onCancel: (item) => queue.cancel(item).catch(tell),
  onRetry: (item) => queue.retry(item),
  onReplace: () => $("file").click(),
  onDismiss: (item) => { queue.dismiss(item); if (detail.item === item && !item.jobId) choose(null); },
  onRemove: async (item) => {
    if (!(await ask(`Delete ${item.name}?`, "The video and its timeline are removed from the server for good.", "Delete"))) return;
    try {
      await queue.remove(item);
      if (detail.item === item) choose(null);
      say(`${item.name} was deleted`);
    } catch (error) { tell(error); }
  },
};
const detail = new Detail($("detail"), {
  ...acts,
  onOther: (item) => {
    const { name: model, embedding } = choices.forPictures;
    const [added] = queue.add([[item.file, item.kind]], () => ({ model, embedding, clips: "whole" }));
    say(`${added.name} was added`);
    choose(added, true);
  },
  onMoment: async (jobId, time) => {
    try {
      choose(await queue.open(jobId), true);
      detail.player.seek(time);
    } catch (error) { tell(error); }
  },
  // A video that this page holds can be looked at by the model for pictures too, frame by frame
  otherModel: (item) => (item.asJob && item.file && item.state === "done" && item.record.model !== choices.forPictures?.name ? choices.forPictures : null),
});
const lists = new Lists({ queue, now: $("lists"), earlier: $("earlier"), acts });

function choose(item, byHand = false) {
  following?.abort();
  following = null;
  document.body.toggleAttribute("data-working", Boolean(item));
  detail.show(item);
  lists.update(item);
  remember(item);
  follow(item);
  if (item?.jobId && !item.active && !item.complete) queue.load(item).catch(tell);
  if (byHand) {
    detail.title.focus({ preventScroll: true });
    if (matchMedia("(max-width: 900px)").matches) $("detail").scrollIntoView();
  }
}

/** The address names the job in view, so that a reload, or a colleague, comes back to it. */
function remember(item) {
  const hash = item?.jobId ? `#${item.jobId}` : "";
  if (location.hash !== hash) history.replaceState(null, "", `${location.pathname}${location.search}${hash}`);
  document.title = item ? `${item.state === "done" ? stateWords(item).split(" · ")[0] : item.name} · Clipstack` : "Clipstack";
}

/** The job in view is followed by a stream; a browser has few connections, so all others are asked for together. */
function follow(item) {
  if (!item?.jobId || !ACTIVE.includes(item.state) || following || document.hidden) return;
  following = new AbortController();
  const mine = following;
  queue.follow(item, mine.signal).catch(() => {}).finally(() => { if (following === mine) following = null; });
}

// ---- news

queue.addEventListener("change", ({ detail: item }) => {
  lists.refresh(item);
  if (item !== detail.item) return;
  detail.update();
  remember(item);
  follow(item);
});
queue.addEventListener("list", () => {
  lists.update();
  if (detail.item) { detail.update(); remember(detail.item); follow(detail.item); }
});
queue.addEventListener("end", ({ detail: item }) => say(`${item.name}: ${stateWords(item)}`));

// Pauses count down
setInterval(() => {
  for (const item of queue.items.filter((each) => each.state === "paused")) {
    lists.refresh(item);
    if (item === detail.item) detail.update();
  }
}, 1000);

function reachable(yes) {
  $("health").classList.toggle("lost", !yes);
  if (!yes) write($("health"), "No connection");
  else if ($("health").textContent === "No connection") write($("health"), "Ready");
}

async function poll() {
  const others = () => queue.items.some((item) => ACTIVE.includes(item.state) && !(following && item === detail.item));
  for (let last = 0; ; ) {
    const due = Date.now() - last >= (document.hidden ? IDLE_MS : others() ? POLL_MS : IDLE_MS);
    if (due) {
      await queue.refresh().then(() => reachable(true), (error) => {
        if (error.code === "unauthorized") location.assign(`/login${location.hash}`); // the session has ended, or the key was revoked
        reachable(error.code !== "no_connection");
      });
      last = Date.now();
    }
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
  }
}

// ---- start

takeFiles({
  form,
  input: $("file"),
  onFiles: (files) => {
    const added = queue.add(files, (kind) => choices.of(kind));
    say(added.length === 1 ? `${added[0].name} was added` : `${added.length} files were added`);
    choose(added[0]);
  },
  onNothing: () => notice(new Problem("not_a_file")),
});

$("sample")?.addEventListener("click", async () => {
  const content = await fetch($("sample").dataset.url).then((answer) => answer.blob()).catch(() => null);
  if (!content) return notice(new Problem("no_connection"));
  const [added] = queue.add([[new File([content], "sample.mp4", { type: "video/mp4" }), "video"]], (kind) => choices.of(kind));
  choose(added, true);
});
$("options").addEventListener("click", () => {
  const open = form.toggleAttribute("data-open");
  $("options").setAttribute("aria-expanded", open);
});

addEventListener("beforeunload", (event) => {
  if (queue.items.some((item) => ["waiting", "uploading", "sent", "paused"].includes(item.state))) event.preventDefault();
});
addEventListener("visibilitychange", () => {
  if (document.hidden) following?.abort();
  else if (detail.item) follow(detail.item);
});
addEventListener("hashchange", open);

/** Opens the job that the address names, or shows the earlier ones. */
async function open() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (id === HISTORY) return lists.showHistory();
  if (!id || detail.item?.jobId === id) return;
  await queue.open(id).then((item) => choose(item, true), tell);
}

const interrupted = unfinished();
if (interrupted.length) notice(new Problem("upload_unfinished", `not sent whole: ${interrupted.join(", ")}`));

choices.offer(() => {
  $("health").classList.add("good");
  write($("health"), "Ready");
});
await queue.refresh().catch((error) => { if (error.code === "no_connection") reachable(false); });
await open();
if (!detail.item) {
  const going = queue.items.find((item) => item.active);
  if (going) choose(going);
}
document.documentElement.dataset.started = "";
poll();
