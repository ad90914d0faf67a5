// A question before something is lost, and a notice of what went wrong beside the files.

import { h, icon } from "./dom.js";

/** Resolves to whether the person said yes. */
export function ask(question, words, yes) {
  return new Promise((resolve) => {
    const dialog = h("dialog.ask", { "aria-labelledby": "ask-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "ask-title" }, question), h("p.quiet", {}, words),
        h("div.ask-buttons", {}, h("button.button", { value: "", autofocus: true }, "Keep"), h("button.button.danger", { value: "yes" }, yes))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "yes"); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows a problem above the lists until it is dismissed or the next one comes. */
export function notice(problem) {
  const place = document.getElementById("notice");
  const close = h("button.icon-button", { type: "button", title: "Dismiss", onclick: () => place.replaceChildren() }, icon("cancel"), h("span.unseen", {}, "Dismiss"));
  place.replaceChildren(h("div.notice", { "data-code": problem.code },
    icon("alert"), h("p", {}, h("b", {}, problem.title), " ", problem.message, " ", problem.advice), close));
}
