// Words and figures as a person reads them; in step with app/web/site/formatting.py, which writes the page without JavaScript.

const ABBREVIATIONS = { cw: "clockwise", ccw: "counter-clockwise" };
const FORMATS = { h264: "H.264", hevc: "H.265", mpeg4: "MPEG-4", matroska: "Matroska", webm: "WebM", webp: "WebP", heic: "HEIC", avif: "AVIF", av1: "AV1" };

export function capital(text) {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** `roll_cw` -> `Roll clockwise`. */
export function label(name) {
  return capital(name.replaceAll("_", " ").split(/\s+/).filter(Boolean).map((word) => ABBREVIATIONS[word] ?? word).join(" "));
}

/** A codec or container as people write it. */
export function formatName(name) {
  return FORMATS[name] ?? (name.length <= 4 ? name.toUpperCase() : name);
}

/** A message of the interface, which starts small and ends open, as a sentence. */
export function sentence(text) {
  const trimmed = (text ?? "").trim();
  return capital(trimmed) + (trimmed === "" || /[.!?]$/.test(trimmed) ? "" : ".");
}

/** A score of 0 to 1 in percent; never a rounded-up 100 nor a rounded-down 0. */
export function percent(score) {
  if (score >= 0.999 && score < 1) return score >= 0.9995 ? "> 99.9 %" : "99.9 %";
  if (score > 0 && score < 0.0005) return "< 0.1 %";
  return `${(score * 100).toFixed(1)} %`;
}

/** A share of 0 to 1 in whole percent, 100 only for all of it and 0 only for nothing. */
export function share(part) {
  if (part > 0 && part < 0.01) return "< 1 %";
  return `${part < 1 ? Math.min(99, Math.round(part * 100)) : 100} %`;
}

/** Bytes in decimal units, as file managers show them. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  let value = bytes;
  for (const unit of ["kB", "MB", "GB"]) {
    value /= 1000;
    if (value < 999.5 || unit === "GB") return `${value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
  }
}

/** `9.97 s` below a minute, then `3:07` and `1:02:45`. */
export function duration(seconds) {
  return seconds < 59.995 ? `${seconds.toFixed(2)} s` : clock(seconds, 0);
}

/** A place in a video: `0:04.2`, `1:02:45.0`; without tenths when `digits` is 0. */
export function clock(seconds, digits = 1) {
  const scale = 10 ** digits;
  const units = Math.round(Math.max(0, seconds) * scale);
  const whole = Math.floor(units / scale);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0") + (digits ? `.${String(units % scale).padStart(digits, "0")}` : "");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Three figures are enough to compare stages. */
export function milliseconds(value) {
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 100 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`;
}

export function seconds(value) {
  if (value >= 90) return clock(value, 0);
  return value < 1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(1)} s`;
}

/** How long is left, roughly: a promise of seconds is not kept to the second. */
export function left(value) {
  if (!(value >= 0) || !Number.isFinite(value)) return "";
  if (value < 1) return "nearly there";
  if (value < 90) return `${Math.ceil(value)} s left`;
  return value < 5400 ? `${Math.round(value / 60)} min left` : `${(value / 3600).toFixed(1)} h left`;
}

/** `1` -> `1st`; a place in a line. */
export function ordinal(number) {
  const teen = number % 100 >= 11 && number % 100 <= 13;
  return `${number}${(!teen && { 1: "st", 2: "nd", 3: "rd" }[number % 10]) || "th"}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** When something was, as near as helps: `14:05`, `Tuesday, 14:05`, `3 Nov 2026`. */
export function when(iso, now = new Date()) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const time = date.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return time;
  if (days === 1) return `yesterday, ${time}`;
  if (days > 0 && days < 7) return `${date.toLocaleDateString("en", { weekday: "long" })}, ${time}`;
  return date.toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** A file name as it can be pasted into a shell, also one that somebody chose with care. */
export function shell(name) {
  const safe = name.startsWith("-") ? `./${name}` : name;
  return /^[\w@%+=:,./-]+$/.test(safe) ? safe : `'${safe.replaceAll("'", `'"'"'`)}'`;
}
