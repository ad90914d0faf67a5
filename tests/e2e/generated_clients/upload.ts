// Uploads a file with openapi-fetch and the types that openapi-typescript generated from the service's description.
// Usage: node upload.js URL FILE

import { openAsBlob } from "node:fs";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [url, path] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url });
const blob = await openAsBlob(path);
const file = blob as unknown as string; // the types have a string where fetch takes bytes

const form = await client.POST("/v1/classify", {
  body: { file, top_k: 2, clips: 1, sampling: "exact" },
  bodySerializer: (fields) => {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, name === "file" ? blob : String(value));
    return body;
  },
});

const raw = (model?: string) =>
  client.POST("/v1/classify", {
    params: { query: { top_k: 3, model } },
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
    bodySerializer: (bytes) => bytes,
  });

type Schemas = components["schemas"];
const labels = (result?: Schemas["Classification"] | Schemas["Classifications"]): string[] =>
  result && "predictions" in result ? result.predictions.map((prediction) => prediction.label) : [];

console.log(JSON.stringify({
  form: labels(form.data),
  raw: labels((await raw()).data),
  code: (await raw("no_such")).error?.error.code,
}));
