// Makes elements. Text goes in as text alone: a file's name is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: `h("p.quiet", { hidden: true, onclick: go }, "words", child)`; null children are left out. */
export function h(what, properties = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  return finish(document.createElement(tag), classes, properties, children);
}

/** An SVG element, made in the same way. */
export function s(what, properties = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  return finish(document.createElementNS(SVG, tag), classes, properties, children);
}

function finish(element, classes, properties, children) {
  if (classes.length) element.classList.add(...classes);
  set(element, properties);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets attributes and listeners; false and null take an attribute away. Unchanged ones are not written again. */
export function set(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

/** Writes text only when it differs, so that a screen reader does not read the same thing twice. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
  return element;
}

/** Makes `parent` hold one child for each of `count`: `make(index)` the missing ones, remove those too many. */
export function fit(parent, count, make) {
  while (parent.childElementCount > count) parent.lastElementChild.remove();
  while (parent.childElementCount < count) parent.append(make(parent.childElementCount));
  return [...parent.children];
}

const PATHS = {
  cancel: "M6 6l12 12M18 6L6 18",
  retry: "M19 12a7 7 0 1 1-2.1-5M19 3.5V8h-4.5",
  remove: "M5 7h14M10 7V4.5h4V7m-7 0 .8 12.5h8.4L17 7",
  film: "M4 6h16v12H4zM8 6v12m8-12v12M4 10h4m-4 4h4m8-4h4m-4 4h4",
  picture: "M4 5.5h16v13H4zM4 16l4.5-4.5 4 4L15 13l5 4.5M15.5 9.2v.1",
  alert: "M12 7.5v5.5M12 16.4v.1M21.25 12a9.25 9.25 0 1 1-18.5 0 9.25 9.25 0 0 1 18.5 0z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  pencil: "M4.5 19.5l1-4.5L16 4.5l3.5 3.5L9 18.5zM14 6.5l3.5 3.5",
  like: "M15.6 15.6 20 20m-2.5-9.3a6.8 6.8 0 1 1-13.6 0 6.8 6.8 0 0 1 13.6 0z",
  down: "M12 4.5v11m-4.5-4.5 4.5 4.5 4.5-4.5M5 19.5h14",
};

/** One of the page's small drawings; it says nothing to a screen reader. */
export function icon(name) {
  return s("svg.icon", { viewBox: "0 0 24 24", width: 20, height: 20, "aria-hidden": "true" }, s("path", { d: PATHS[name] }));
}
