// What shows that a request comes from this page and from no other: the page carries it while somebody is logged in.

/** The token, empty where no keys are asked for. */
export const csrfToken = () => document.querySelector("meta[name=csrf-token]")?.content ?? "";

/** The headers that a request which changes something must have. */
export const csrfHeaders = () => (csrfToken() ? { "X-CSRF-Token": csrfToken() } : {});
