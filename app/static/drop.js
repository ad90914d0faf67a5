// How files come in: chosen, dropped anywhere on the page, or pasted.

const PICTURES = [[0xff, 0xd8, 0xff], [0x89, 0x50, 0x4e, 0x47]]; // JPEG, PNG
const ascii = (bytes, from, to) => String.fromCharCode(...bytes.slice(from, to));

/** "picture" or "video", by the first bytes: names and types say what they like. */
async function kindOf(file) {
  const bytes = new Uint8Array(await file.slice(0, 12).arrayBuffer().catch(() => new ArrayBuffer(0)));
  const picture = PICTURES.some((start) => start.every((byte, place) => bytes[place] === byte))
    || (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 12) === "WEBP");
  return picture ? "picture" : "video";
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
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const files = items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile()).filter(Boolean);
    if (files.length) take(files);
    if (files.length < Math.max(1, items.length)) onNothing();
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
}
