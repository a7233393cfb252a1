import { describe, expect, it } from "vitest";
import type { UserError } from "../../shared/errors.ts";
import { parseRunOptions, type RunOptions } from "./options.ts";
import { workloadManifest } from "./registration.ts";
import { runFolderPath } from "./run-folder.ts";

const given: RunOptions = {
  namespace: "shop",
  service: "cart",
  account: "cart",
  port: [],
  data: "/data",
  output: "text",
};
const parse = (more: Partial<RunOptions> = {}, command = ["node", "app.js"]) =>
  parseRunOptions({ ...given, ...more }, command);

describe("what isthmus run is told", () => {
  it("names the workload after its service, and asks the site's folder for the credential", () => {
    expect(parse()).toEqual({
      workload: {
        namespace: "shop",
        name: "cart",
        serviceAccount: "cart",
        service: "cart",
        ports: [],
        health: undefined,
        redirect: false,
        user: "",
      },
      from: { kind: "data", dir: "/data" },
      envoy: undefined,
      dnsForward: false,
      command: ["node", "app.js"],
    });
  });

  it("may be a name of its own, no service, and a credential folder that was brought here", () => {
    const caller: RunOptions = { namespace: "shop", account: "cart", port: [], data: "/data", output: "text" };
    const { workload, from } = parseRunOptions({ ...caller, name: "cart-2", credential: "/brought" }, ["app"]);
    expect(workload).toMatchObject({ name: "cart-2", service: "" });
    expect(from).toEqual({ kind: "credential", dir: "/brought" });
  });

  it.each([
    { text: "8080", port: 8080, applicationPort: 8080, protocol: "" },
    { text: "8080=9090", port: 8080, applicationPort: 9090, protocol: "" },
    { text: "5432=5433/tcp", port: 5432, applicationPort: 5433, protocol: "tcp" },
    { text: "443/tls", port: 443, applicationPort: 443, protocol: "tls" },
  ])("a port may be $text", ({ text, ...port }) => {
    expect(parse({ port: [text] }).workload.ports).toEqual([port]);
  });

  it.each([
    { text: "/healthz", health: { path: "/healthz" } },
    { text: "tcp", health: "tcp" },
  ])("health may be $text", ({ text, health }) => {
    expect(parse({ port: ["80"], health: text }).workload.health).toEqual(health);
  });

  it.each([
    { why: "no program", options: {}, command: [], code: "ISTHMUS_USAGE" },
    { why: "no account", options: { account: undefined }, code: "ISTHMUS_USAGE" },
    { why: "no name", options: { service: undefined }, code: "ISTHMUS_USAGE" },
    { why: "a name that is no label", options: { name: "Cart_1" }, code: "ISTHMUS_OPTION" },
    { why: "a namespace with a slash", options: { namespace: "../shop" }, code: "ISTHMUS_OPTION" },
    { why: "a port that is a word", options: { port: ["http"] }, code: "ISTHMUS_OPTION" },
    { why: "port 0", options: { port: ["0"] }, code: "ISTHMUS_OPTION" },
    { why: "a port beyond 65535", options: { port: ["8080=70000"] }, code: "ISTHMUS_OPTION" },
    { why: "an unknown protocol", options: { port: ["80/quic"] }, code: "ISTHMUS_OPTION" },
    { why: "a port twice", options: { port: ["80", "80=90"] }, code: "ISTHMUS_OPTION" },
    { why: "health without a port", options: { health: "/healthz" }, code: "ISTHMUS_OPTION" },
    { why: "health that is neither", options: { port: ["80"], health: "yes" }, code: "ISTHMUS_OPTION" },
  ])("is refused with $why", ({ options, command, code }) => {
    let error: unknown;
    try {
      parse(options as Partial<RunOptions>, command);
    } catch (cause) {
      error = cause;
    }
    expect((error as UserError | undefined)?.code).toBe(code);
  });
});

describe("the manifest of a workload that isthmus run declares", () => {
  it("says what the command line said, and which process it is", () => {
    const { workload } = parse({ port: ["8080=9090", "5432/tcp"], health: "/healthz" });
    expect(parseRunOptions({ ...given, redirect: true }, ["app"]).workload.redirect).toBe(true);
    expect(workloadManifest({ ...workload, redirect: true, user: "cart" }, 77)).toMatchObject({
      spec: { redirect: true, user: "cart" },
    });
    expect(workloadManifest(workload, 77)).toEqual({
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "Workload",
      metadata: { name: "cart", namespace: "shop", annotations: { "isthmus.dev/pid": "77" } },
      spec: {
        serviceAccount: "cart",
        service: "cart",
        ports: [
          { name: "http-8080", port: 8080, application: "127.0.0.1:9090" },
          { name: "tcp-5432", port: 5432, appProtocol: "tcp", application: "127.0.0.1:5432" },
        ],
        healthCheck: { path: "/healthz", port: 9090 },
      },
    });
  });
});

describe("the private folder of a running workload", () => {
  const place = (dir: string, kind: "data" | "credential" = "data", env: NodeJS.ProcessEnv = {}) =>
    runFolderPath("shop.cart", { from: { kind, dir }, env, uid: 1000 });

  it("lies in the site's data folder", () => {
    expect(place("/data")).toBe("/data/run/shop.cart");
  });

  it.each([
    { name: "the data folder's path is too long for a socket", dir: `/${"d".repeat(100)}`, kind: "data" as const },
    { name: "the credential was brought here", dir: "/brought", kind: "credential" as const },
  ])("lies in the user's runtime folder when $name, and is another for each site", ({ dir, kind }) => {
    const own = place(dir, kind, { XDG_RUNTIME_DIR: "/run/user/1000" });
    expect(own).toMatch(/^\/run\/user\/1000\/isthmus\/[0-9a-f]{16}$/);
    expect(place(`${dir}2`, kind, { XDG_RUNTIME_DIR: "/run/user/1000" })).not.toBe(own);
    expect(place(dir, kind)).toContain("/isthmus-1000/");
  });
});
