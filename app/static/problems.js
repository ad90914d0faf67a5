// What went wrong, in words: the table of app/web/site/formatting.py, which the page carries.

import { sentence } from "./words.js";

const table = JSON.parse(document.getElementById("problems").textContent);

/** An error with a code of the interface, and the words for it. */
export class Problem extends Error {
  constructor(code, message = "", requestId = "") {
    super(sentence(message));
    this.code = code in table ? code : "";
    this.requestId = requestId;
    [this.title, this.advice] = table[this.code];
  }
}

/** The problem that an answer of the service or of nginx tells of; both speak the same JSON. */
export function problemOf(text) {
  try {
    const { code, message, request_id: id } = JSON.parse(text).error;
    return new Problem(code, message, id);
  } catch {
    return new Problem("");
  }
}
