import { describe, expect, it } from "vitest";
import { defaultSidecar, readSidecarSettings } from "./sidecar-settings.ts";

function read(document: unknown): {
  readonly settings: ReturnType<typeof readSidecarSettings>;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const text = typeof document === "string" ? document : JSON.stringify(document);
  const settings = readSidecarSettings(text, (field, message) => problems.push(`${field} ${message}`));
  return { settings, problems };
}

describe("the sidecar's settings", () => {
  it("are the defaults when nothing is given", () => {
    expect(read("")).toEqual({ settings: defaultSidecar, problems: [] });
    expect(read({})).toEqual({ settings: defaultSidecar, problems: [] });
  });

  it("take what is given, and leave the rest as it is", () => {
    const exclude = { outboundPorts: [6379], outboundRanges: ["10.0.0.0/8"] };
    const { settings, problems } = read({ cpuRequest: "100m", concurrency: 1, exclude });
    expect(problems).toEqual([]);
    expect(settings).toEqual({
      ...defaultSidecar,
      proxyCpuRequest: "100m",
      concurrency: 1,
      exclusions: { ...defaultSidecar.exclusions, outboundPorts: [6379], outboundRanges: ["10.0.0.0/8"] },
    });
  });

  it.each([
    ["{", [" is not a JSON document"]],
    [{ cpuRequest: "much" }, ['cpuRequest "much" is not a quantity such as 20m']],
    [{ memoryLimitBytes: 1024 }, ["memoryLimitBytes 1024 is not 64 MiB or more"]],
    [{ concurrency: 16 }, ["concurrency 16 is not 1 or 2"]],
    [{ exclude: { inboundPorts: [0] } }, ["exclude.inboundPorts[0] 0 cannot be read"]],
    [{ exclude: { outboundRanges: ["10.0.0.0/33"] } }, ['exclude.outboundRanges[0] "10.0.0.0/33" cannot be read']],
  ])("name the field that cannot be used: %j", (document, expected) => {
    expect(read(document).problems).toEqual(expected);
  });
});
