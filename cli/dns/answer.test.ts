// What a client is told, and that no bytes whatever bring the server down. Golden packets are written as they go over the wire.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replyTo, type ServerView, type Transport } from "./answer.ts";
import { parseHosts } from "./zone.ts";

const hosts = `# made by the agent
127.64.16.1 catalog.shop.svc.clusterset.local
127.64.16.2 cart.shop.svc.cluster.local cart.shop.svc cart.shop cart
${Array.from({ length: 40 }, (_, index) => `127.64.16.${100 + index} many.shop.svc.cluster.local`).join("\n")}
not an address
`;
const here: ServerView = { zone: parseHosts(hosts), forwards: false };

interface Asked {
  readonly name: string;
  readonly type?: number;
  readonly recordClass?: number;
  readonly flags?: number;
  readonly questions?: number;
  readonly edns?: { readonly udpBytes: number; readonly version?: number };
}

function question({ name, type = 1, recordClass = 1 }: Asked): Buffer {
  const labels = name === "" ? [] : name.split(".");
  const named = labels.map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)]));
  return Buffer.concat([...named, Buffer.of(0, type >> 8, type & 255, recordClass >> 8, recordClass & 255)]);
}

function query(asked: Asked): Buffer {
  const { flags = 0x0100, questions = 1, edns } = asked;
  const head = Buffer.alloc(12);
  [0xbeef, flags, questions, 0, 0, edns === undefined ? 0 : 1].forEach((word, at) => head.writeUInt16BE(word, at * 2));
  const { udpBytes = 0, version = 0 } = edns ?? {};
  const opt = edns === undefined ? [] : [0, 0, 41, udpBytes >> 8, udpBytes & 255, 0, version, 0, 0, 0, 0];
  return Buffer.concat([head, question(asked), Buffer.from(opt)]);
}

function sent(bytes: Uint8Array, view: ServerView = here, transport: Transport = "udp"): Buffer {
  const reply = replyTo(bytes, view, transport);
  if (reply.kind !== "send") throw new Error(`not answered but ${reply.kind}`);
  return Buffer.from(reply.bytes);
}

/** The header's words as a person reads them. */
function told(bytes: Buffer): object {
  const flags = bytes.readUInt16BE(2);
  return {
    code: flags & 15,
    authoritative: (flags & 0x400) !== 0,
    truncated: (flags & 0x200) !== 0,
    answers: bytes.readUInt16BE(6),
    authority: bytes.readUInt16BE(8),
  };
}

const answer = { code: 0, authoritative: true, truncated: false, answers: 1, authority: 0 };
const noData = { ...answer, answers: 0, authority: 1 };
const refused = { ...answer, code: 5, authoritative: false, answers: 0 };

describe("a workload's DNS", () => {
  it.each([
    ["an import has its address", { name: "catalog.shop.svc.clusterset.local" }, answer],
    ["a service of the site has its address", { name: "cart.shop.svc.cluster.local" }, answer],
    ["a short name has it too", { name: "cart.shop" }, answer],
    ["a name is the same in any case", { name: "CART.Shop" }, answer],
    ["whoever asks for anything gets the address", { name: "cart.shop", type: 255 }, answer],
    [
      "a name has no IPv6 address, which is not to say that it does not exist",
      { name: "cart.shop", type: 28 },
      { ...noData, authority: 0 },
    ],
    ["the absence of an IPv6 address may be remembered", { name: "cart.shop.svc.cluster.local", type: 28 }, noData],
    ["other types have no data", { name: "catalog.shop.svc.clusterset.local", type: 16 }, noData],
    ["a name that only has names below it exists", { name: "shop.svc.clusterset.local" }, noData],
    ["so does the zone", { name: "clusterset.local", type: 6 }, noData],
    ["a name that nobody has does not exist", { name: "absent.shop.svc.clusterset.local" }, { ...noData, code: 3 }],
    ["names of others are refused", { name: "example.com" }, refused],
    ["a longer name that ends alike is of others", { name: "notcluster.local" }, refused],
    ["the root is of others", { name: "" }, refused],
    ["another class is refused", { name: "cart.shop", recordClass: 3 }, refused],
    ["an update is not implemented", { name: "cart.shop", flags: 0x2800 }, { ...refused, code: 4 }],
    ["two questions are no question", { name: "cart.shop", questions: 2 }, { ...refused, code: 1 }],
  ] as const)("%s", (_what, asked, expected) => {
    expect(told(sent(query(asked)))).toEqual(expected);
  });

  it("answers bit by bit as RFC 1035 says", () => {
    expect(sent(query({ name: "Cart.shop", edns: { udpBytes: 4096 } })).toString("hex")).toBe(
      [
        "beef85000001000100000001",
        "04436172740473686f7000" + "00010001", // the question as it came
        "c00c" + "00010001" + "00000005" + "0004" + "7f401002",
        "00" + "0029" + "04d0" + "00000000" + "0000",
      ].join(""),
    );
    expect(sent(query({ name: "x.cluster.local" })).toString("hex")).toBe(
      [
        "beef85030001000000010000",
        "017807636c7573746572056c6f63616c00" + "00010001",
        "07636c7573746572056c6f63616c00" + "00060001" + "00000005" + "0044",
        "026e7303646e7307636c7573746572056c6f63616c00",
        "0a686f73746d617374657207636c7573746572056c6f63616c00",
        "00000001" + "00000e10" + "00000258" + "00015180" + "00000005",
      ].join(""),
    );
  });

  it("says over UDP that an answer is too long, and gives it over TCP and to whom takes more", () => {
    const many = query({ name: "many.shop.svc.cluster.local" });
    expect(told(sent(many))).toEqual({ ...answer, truncated: true, answers: 0 });
    expect(sent(many).length).toBeLessThanOrEqual(512);
    expect(told(sent(many, here, "tcp"))).toEqual({ ...answer, answers: 40 });
    expect(told(sent(query({ name: "many.shop.svc.cluster.local", edns: { udpBytes: 1232 } })))).toMatchObject({
      answers: 40,
    });
  });

  it("tells a client of a later EDNS which version it has", () => {
    const bytes = sent(query({ name: "cart.shop", edns: { udpBytes: 1232, version: 1 } }));
    expect(bytes.subarray(-11).toString("hex")).toBe("00" + "0029" + "04d0" + "01000000" + "0000");
  });

  it("asks for names of others elsewhere when it is told to", () => {
    const reply = replyTo(query({ name: "example.com" }), { ...here, forwards: true }, "udp");
    expect(reply.kind).toBe("ask");
    expect(reply.kind === "ask" && told(Buffer.from(reply.failed))).toEqual({ ...refused, code: 2 });
  });

  it("takes a label with a dot in it for no other name", () => {
    const bytes = query({ name: "cart_shop" });
    bytes[bytes.indexOf("_")] = ".".charCodeAt(0);
    expect(told(sent(bytes))).toEqual(refused);
  });

  it("never answers an answer", () => {
    expect(replyTo(query({ name: "cart.shop", flags: 0x8100 }), here, "udp")).toEqual({ kind: "nothing" });
  });

  it("refuses to read a question that points at itself, at what follows, or out of the message", () => {
    for (const pointer of [0xc00c, 0xc000, 0xc0ff, 0xffff]) {
      const bytes = Buffer.concat([
        query({ name: "" }).subarray(0, 12),
        Buffer.of(pointer >> 8, pointer & 255, 0, 1, 0, 1),
      ]);
      expect(told(sent(bytes)), pointer.toString(16)).toMatchObject({ code: 1, answers: 0 });
    }
  });
});

describe("whatever comes over the network", () => {
  const real = fc
    .constantFrom("cart.shop", "catalog.shop.svc.clusterset.local", "example.com")
    .map((name) => query({ name, edns: { udpBytes: 9 } }));
  const bent = fc
    .tuple(real, fc.array(fc.tuple(fc.nat(70), fc.nat(255)), { maxLength: 6 }), fc.nat(70))
    .map(([bytes, changes, length]) => {
      const copy = Buffer.from(bytes);
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
      return copy.subarray(0, length);
    });
  const headed = fc
    .uint8Array({ maxLength: 600 })
    .map((rest) => Buffer.concat([query({ name: "" }).subarray(0, 12), rest]));
  const anything = fc.oneof(bent, headed, fc.uint8Array({ maxLength: 2000 }));

  it("is answered within its limit, to whom it came from, or not at all; and never more than it asked for", () => {
    fc.assert(
      fc.property(anything, fc.boolean(), fc.constantFrom<Transport>("udp", "tcp"), (bytes, forwards, transport) => {
        const reply = replyTo(bytes, { ...here, forwards }, transport);
        if (reply.kind === "nothing") return;
        const response = Buffer.from(reply.kind === "send" ? reply.bytes : reply.failed);
        expect(response.subarray(0, 2)).toEqual(Buffer.from(bytes.subarray(0, 2)));
        expect(response.readUInt16BE(2) & 0x8000).toBe(0x8000);
        expect(response.length).toBeLessThanOrEqual(transport === "udp" ? 1232 : 65_535);
      }),
      { numRuns: 1000 },
    );
  });
});
