// How files come in: chosen, dropped anywhere on the page, or pasted.

const FOLDER_FILES = 500; // of one drop; more are left out
const FOLDER_DEPTH = 10;
const MEDIA = /\.(3gp|avi|avif|bmp|flv|gif|hei[cf]|jpe?g|m4v|mkv|mov|mp4|mpe?g|mts|png|tiff?|ts|webm|webp|wmv)$/i;
const HEAD = 4096; // bytes: an animated PNG says so before its first pixels
const PICTURES = ["\xff\xd8\xff", "\x89PNG", "II*\0", "MM\0*"]; // JPEG, PNG, TIFF
const BRANDS = /^(avif|hei[cxms]|hev[cxms]|mif1|msf1)$/; // AVIF, HEIC; "avis" is a film

// First bytes of files that are neither a video nor a picture
const OTHERS = ["%PDF", "PK\x03\x04", "\x7fELF", "MZ", "\x1f\x8b", "Rar!", "7z\xbc\xaf", "ID3", "fLaC", "\xd0\xcf\x11\xe0"];
const TEXT_BYTES = 512;

/** "picture", "video" or "other", by the first bytes, because names and types may be wrong. Animations are videos. */
async function kindOf(file) {
  const bytes = new Uint8Array(await file.slice(0, HEAD).arrayBuffer().catch(() => new ArrayBuffer(0)));
  const head = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  if (OTHERS.some((start) => head.startsWith(start)) || isText(bytes.subarray(0, TEXT_BYTES))) return "other";
  if (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") {
    return head.slice(12, 16) === "VP8X" && bytes[20] & 2 ? "video" : "picture";
  }
  if (head.startsWith("\x89PNG") && head.split("IDAT")[0].includes("acTL")) return "video";
  const isBitmap = head.startsWith("BM") && bytes[14] >= 12 && head.slice(15, 18) === "\0\0\0";
  const isStill = head.slice(4, 8) === "ftyp" && BRANDS.test(head.slice(8, 12));
  return isBitmap || isStill || PICTURES.some((start) => head.startsWith(start)) ? "picture" : "video";
}

/** The videos and pictures in dropped entries, with those in folders below them; at most `FOLDER_FILES`. */
async function filesOf(entries) {
  const files = [];
  let depth = 0;
  for (let level = entries; level.length && depth <= FOLDER_DEPTH; depth++) {
    const below = [];
    for (const entry of level) {
      if (files.length >= FOLDER_FILES) return files;
      if (entry.isDirectory) below.push(...(await inFolder(entry)));
      else if (depth === 0 || MEDIA.test(entry.name)) files.push(await new Promise((resolve) => entry.file(resolve, () => resolve(null))));
    }
    level = below;
  }
  return files.filter(Boolean);
}

/** The entries of a folder by name, without hidden ones; a browser hands out a hundred at a time. */
async function inFolder(folder) {
  const reader = folder.createReader(), found = [];
  while (found.length < FOLDER_FILES) {
    const part = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!part.length) break;
    found.push(...part.filter((entry) => !entry.name.startsWith(".")));
  }
  return found.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
}

/** Whether all bytes are those of UTF-8 text; a letter may be cut off at the end. */
function isText(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return text.length > 0 && !/[\0-\x08\x0e-\x1f\x7f]/.test(text);
  } catch {
    return false;
  }
}

/** Calls `onFiles([[file, kind], ...])`, or `onNothing()` when what was dropped holds no file to send. */
export function takeFiles({ form, input, onFiles, onNothing }) {
  const take = async (files) => onFiles(await Promise.all(files.map(async (file) => [file, await kindOf(file)])));

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.files.length) take([...input.files]);
  });
  input.addEventListener("change", () => {
    const files = [...input.files];
    // Without this, choosing the same file again would be no change.
    input.value = "";
    if (files.length) take(files);
  });

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
    // Entries and files can be had only while the event is handled
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const entries = items.map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (entries.some((entry) => entry.isDirectory)) {
      filesOf(entries).then((files) => (files.length ? take(files) : onNothing()));
      return;
    }
    const files = items.map((item) => item.getAsFile()).filter(Boolean);
    if (files.length) take(files);
    else onNothing();
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
}
