import { chmod, mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UserError } from "../../shared/errors.ts";
import { addressText, blockStart, parseLoopbackRange } from "./loopback-range.ts";
import { parseSiteOptions, type SiteOptions } from "./site-config.ts";
import { makeSiteFolder, type SiteFolder } from "./testing/site-folder.ts";

let folder: SiteFolder;
let good: SiteOptions;

beforeEach(async () => {
  folder = await makeSiteFolder();
  good = { data: folder.data, manifests: folder.manifests, gateway: "127.0.0.1:15443" };
});

afterEach(() => folder.remove());

describe("a site's options", () => {
  it("have defaults for all but the folders and the gateway's address", async () => {
    const config = await parseSiteOptions(good);
    expect(config).toMatchObject({
      ...{
        address: "127.0.0.1",
        adsPort: 15128,
        adminPort: 15014,
        permissive: false,
        egress: true,
        podLabel: true,
        region: "",
        zone: "",
      },
      gatewayBind: { host: "127.0.0.1", port: 15443 },
      advertise: { host: "127.0.0.1", port: 15443 },
      loopbackRange: { blocks: 256 },
    });
    expect((await stat(config.dataDir)).mode & 0o777).toBe(0o700);
  });

  it("may name another address to dial, in brackets where it is IPv6", async () => {
    const config = await parseSiteOptions({ ...good, gateway: "0.0.0.0:15443", advertise: "[2001:db8::1]:443" });
    expect(config.advertise).toEqual({ host: "2001:db8::1", port: 443 });
  });

  it("may do without loopback addresses", async () => {
    expect((await parseSiteOptions({ ...good, loopbackRange: "none" })).loopbackRange).toBeUndefined();
  });

  it.each<[string, Partial<SiteOptions>, string]>([
    ["a gateway on every address that nobody can dial", { gateway: undefined }, "ISTHMUS_ADVERTISE"],
    ["a gateway by name", { gateway: "localhost:15443" }, "ISTHMUS_ADDRESS"],
    ["a gateway without a port", { gateway: "127.0.0.1" }, "ISTHMUS_ADDRESS"],
    ["an address to dial that is none", { advertise: "1.2.3.4.5:80" }, "ISTHMUS_ADDRESS"],
    ["an address of the agent that is a name", { address: "localhost" }, "ISTHMUS_ADDRESS"],
    ["a port that is none", { adsPort: "99999" }, "ISTHMUS_OPTION"],
    ["a port that is a word", { adminPort: "http" }, "ISTHMUS_OPTION"],
    ["an unknown log level", { logLevel: "loud" }, "ISTHMUS_OPTION"],
    ["a range outside loopback", { loopbackRange: "10.0.0.0/12" }, "ISTHMUS_LOOPBACK_RANGE"],
    [
      "a range that does not begin at its own first address",
      { loopbackRange: "127.65.0.0/12" },
      "ISTHMUS_LOOPBACK_RANGE",
    ],
    ["a range too small for one block", { loopbackRange: "127.64.0.0/24" }, "ISTHMUS_LOOPBACK_RANGE"],
  ])("are refused with the next step: %s", async (_what, change, code) => {
    const refused = await parseSiteOptions({ ...good, ...change }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(UserError);
    expect(refused).toMatchObject({ code });
  });

  it("are refused with a folder of manifests that is not there, and one line says how to make it", async () => {
    await rm(folder.manifests, { recursive: true });
    await expect(parseSiteOptions(good)).rejects.toMatchObject({
      code: "ISTHMUS_MANIFESTS",
      hint: `make it (it may be empty): mkdir -p ${folder.manifests}`,
    });
  });

  it.each([0o750, 0o705, 0o777])("are refused with a data folder of mode %o, for keys lie in it", async (mode) => {
    await mkdir(folder.data);
    await chmod(folder.data, mode);
    await expect(parseSiteOptions(good)).rejects.toMatchObject({ code: "ISTHMUS_FILE_MODE" });
  });

  it("are refused with a file in the place of the data folder", async () => {
    await folder.write("file", "");
    const data = join(folder.manifests, "file");
    await expect(parseSiteOptions({ ...good, data })).rejects.toMatchObject({ code: "ISTHMUS_DATA_FOLDER" });
  });
});

describe("a loopback range", () => {
  it("is cut into blocks that do not overlap and end with it", () => {
    const range = parseLoopbackRange("127.64.0.0/12");
    const starts = [0, 1, 16, range.blocks - 1].map((block) => addressText(blockStart(range, block)));
    expect(starts).toEqual(["127.64.0.0", "127.64.16.0", "127.65.0.0", "127.79.240.0"]);
  });
});
