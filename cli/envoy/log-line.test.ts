import { describe, expect, it } from "vitest";
import { countCalls } from "./admin.ts";
import { readEnvoyLine } from "./log-line.ts";

describe("a line of Envoy's log", () => {
  it.each([
    {
      line: "[warning][config] delta config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: Error adding/updating listener(s) inbound: cannot bind '127.64.0.0:8080': Address already in use",
      kind: "port-taken",
      text: "cannot listen on 127.64.0.0:8080: another program does",
    },
    {
      line: "[critical][main] error initializing config 'a.json': cannot bind '[::1]:80': Permission denied",
      kind: "not-allowed",
      text: "may not listen on [::1]:80: the port needs a privilege",
    },
    {
      line: "error adding listener: cannot bind '192.0.2.1:80': Cannot assign requested address",
      kind: "not-allowed",
      text: "cannot listen on 192.0.2.1:80: it is no address of this machine",
    },
  ])("tells a person: $text", ({ line, kind, text }) => {
    expect(readEnvoyLine(line)).toMatchObject({ kind, text });
  });

  it("tells nothing else", () => {
    expect(readEnvoyLine("[warning][config] DeltaAggregatedResources gRPC config stream closed: 14")).toBeUndefined();
  });
});

describe("the calls that a sidecar still answers", () => {
  const count = (values: Readonly<Record<string, number>>) => countCalls(new Map(Object.entries(values)));

  it.each([
    { name: "none at the start", values: {}, calls: 0 },
    {
      name: "an idle HTTP connection is none",
      values: { "listener.inbound.downstream_cx_active": 1, "http.inbound.downstream_cx_active": 1 },
      calls: 0,
    },
    {
      name: "requests are counted, not their connection",
      values: {
        "listener.inbound.downstream_cx_active": 1,
        "http.inbound.downstream_cx_active": 1,
        "http.inbound.downstream_rq_active": 3,
      },
      calls: 3,
    },
    { name: "a connection of bytes is one", values: { "listener.inbound.downstream_cx_active": 2 }, calls: 2 },
    { name: "the application's own calls are none", values: { "http.http-proxy.downstream_rq_active": 4 }, calls: 0 },
  ])("$name", ({ values, calls }) => {
    expect(count(values)).toBe(calls);
  });
});
