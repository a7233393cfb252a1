import { describe, expect, it } from "vitest";
import { isRecentGo, parseGoVersion, proxiesOf } from "./go.ts";

describe("the Go toolchain", () => {
  it.each([
    ["go version go1.26.8 linux/amd64", "1.26.8", true],
    ["go version go1.24 linux/arm64", "1.24", true],
    ["go version go1.19.8 linux/amd64", "1.19.8", false],
    ["go version go2.0.1 linux/amd64", "2.0.1", true],
  ])("%j is version %s, recent enough: %s", (answer, version, recent) => {
    expect(parseGoVersion(answer)).toBe(version);
    expect(isRecentGo(version)).toBe(recent);
  });

  it("of a development build has no version to compare", () => {
    expect(parseGoVersion("go version devel +abcdef linux/amd64")).toBeUndefined();
  });

  it.each([
    [undefined, ["https://proxy.golang.org"]],
    ["", ["https://proxy.golang.org"]],
    ["https://a.example/go/,https://b.example|direct", ["https://a.example/go", "https://b.example"]],
    ["off", []],
    ["direct", []],
  ])("is asked for at the proxies of GOPROXY=%j", (goproxy, proxies) => {
    expect(proxiesOf(goproxy)).toEqual(proxies);
  });
});
