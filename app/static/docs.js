// The API reference at /docs: Scalar, without the features that send anything to other hosts.

globalThis.Scalar.createApiReference("#reference", {
  url: "/v1/openapi.json",
  proxyUrl: "",
  telemetry: false,
  withDefaultFonts: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
  documentDownloadType: "none",
  hiddenClients: true,
  defaultOpenAllTags: true,
  modelsSectionLabel: "Schemas",
  theme: "none",
});
