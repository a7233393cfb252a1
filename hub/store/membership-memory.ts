// Who is a member with which keys, and which tokens were redeemed, as this hub has last seen it: sealed records, kept in the data
// folder. Redis holds the same for all hubs to work on; what it says is taken only when it bears the hub's seal and is no
// older than what is kept here. So nobody who can merely write to Redis swaps a member's key or brings an old one back.
import { createHmac, timingSafeEqual } from "node:crypto";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { ClusterName } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";
import { decodeMember, encodeMember, memberKey, type Member } from "../registry/member.ts";

/** As Redis and the file hold it. */
interface SealedMember {
  readonly member: unknown;
  /** Rises with every change of the member. */
  readonly version: number;
  /** HMAC over key, version and member. */
  readonly seal: string;
}

export interface Redeemed {
  readonly agentSpki: string;
  readonly clusterCaSpki: string;
  readonly expiresAtMs: number;
}

export interface MembershipMemory {
  /** The text of a changed member, one version after the newest that was seen. */
  seal(member: Member): string;
  /** The member that `text` (undefined: Redis has none) stands for, or the newer one that is remembered. */
  open(key: string, text: string | undefined): Result<Member>;
  /** The text that is in force: what was opened, or what is remembered. */
  current(cluster: ClusterName): string | undefined;
  redeemed(tokenId: string): Redeemed | undefined;
  rememberRedeemed(tokenId: string, redeemed: Redeemed, nowMs: number): void;
  /** Resolves when all that was seen is on disk. */
  saved(): Promise<void>;
  /** Records of Redis that were refused: changed, or older than known. */
  tampered(): number;
}

interface Memory {
  members: Readonly<Record<string, string>>;
  redeemed: Readonly<Record<string, Redeemed>>;
}

export interface MembershipMemoryOptions {
  readonly dataDir: string;
  /** Of the token HMACs; it never enters Redis. */
  readonly pepper: Uint8Array;
  readonly log: Log;
}

export async function openMembershipMemory(options: MembershipMemoryOptions): Promise<MembershipMemory> {
  const path = join(options.dataDir, "members.json");
  return new KeptMembers(path, await readMemory(path), options);
}

interface Verified {
  readonly member: Member;
  readonly version: number;
}

class KeptMembers implements MembershipMemory {
  readonly #path: string;
  readonly #memory: Memory;
  readonly #pepper: Uint8Array;
  readonly #log: Log;
  readonly #versions = new Map<string, number>();
  #dirty = false;
  #writing: Promise<void> = Promise.resolve();
  #refused = 0;

  constructor(path: string, memory: Memory, { pepper, log }: MembershipMemoryOptions) {
    this.#path = path;
    this.#memory = memory;
    this.#pepper = pepper;
    this.#log = log;
    for (const [cluster, text] of Object.entries(memory.members)) {
      const verified = this.#verify(memberKey(cluster as ClusterName), text);
      if (verified === undefined) throw damaged(path);
      this.#versions.set(cluster, verified.version);
    }
  }

  seal(member: Member): string {
    const key = memberKey(member.cluster);
    const version = (this.#versions.get(member.cluster) ?? 0) + 1;
    const plain: unknown = JSON.parse(encodeMember(member));
    return JSON.stringify({ member: plain, version, seal: this.#sealOf(key, version, plain) } satisfies SealedMember);
  }

  open(key: string, text: string | undefined): Result<Member> {
    const cluster = clusterOfKey(key);
    const known = this.#versions.get(cluster) ?? 0;
    const verified = text === undefined ? undefined : this.#verify(key, text);
    if (text !== undefined && verified !== undefined && verified.version >= known) {
      if (verified.version > known) this.#keep(cluster, text, verified.version);
      return ok(verified.member);
    }
    if (text !== undefined)
      this.#refuse(key, verified === undefined ? "it does not bear the hub's seal" : "it is older");
    const remembered = this.#memory.members[cluster];
    const kept = remembered === undefined ? undefined : this.#verify(key, remembered);
    if (kept !== undefined) return ok(kept.member);
    return rejected("ISTHMUS_RECORD_CORRUPT", `the stored record ${key} is not the hub's`);
  }

  current(cluster: ClusterName): string | undefined {
    return this.#memory.members[cluster];
  }

  redeemed(tokenId: string): Redeemed | undefined {
    const { redeemed } = this.#memory;
    return Object.hasOwn(redeemed, tokenId) ? redeemed[tokenId] : undefined;
  }

  rememberRedeemed(tokenId: string, redeemed: Redeemed, nowMs: number): void {
    const valid = Object.entries(this.#memory.redeemed).filter(([, { expiresAtMs }]) => expiresAtMs > nowMs);
    this.#memory.redeemed = Object.fromEntries([...valid, [tokenId, redeemed]]);
    this.#save();
  }

  saved(): Promise<void> {
    if (this.#dirty) this.#save();
    return this.#writing;
  }

  tampered(): number {
    return this.#refused;
  }

  #sealOf(key: string, version: number, member: unknown): string {
    const statement = JSON.stringify(["isthmus member v1", key, version, member]);
    return createHmac("sha256", this.#pepper).update(statement).digest("hex");
  }

  #verify(key: string, text: string): Verified | undefined {
    const { member, version, seal } = parseSealed(text);
    if (typeof seal !== "string" || !sameText(seal, this.#sealOf(key, version, member))) return undefined;
    const read = decodeMember(key, JSON.stringify(member));
    return read.ok ? { member: read.value, version } : undefined;
  }

  #keep(cluster: string, text: string, version: number): void {
    this.#versions.set(cluster, version);
    this.#memory.members = { ...this.#memory.members, [cluster]: text };
    this.#save();
  }

  #refuse(key: string, why: string): void {
    this.#refused += 1;
    this.#log.error("a member's record in Redis is refused: what this hub remembers stays in force", { key, why });
  }

  /** All that changed meanwhile goes out with one write. */
  #save(): void {
    this.#dirty = true;
    // one that failed was told to who waited for it; the next one writes everything again
    this.#writing = this.#writing.catch(() => undefined).then(() => this.#write());
    this.#writing.catch((error: unknown) =>
      this.#log.error("what this hub knows of its members could not be kept", {}, error),
    );
  }

  async #write(): Promise<void> {
    if (!this.#dirty) return;
    this.#dirty = false;
    await writeSecretFile(this.#path, `${JSON.stringify(this.#memory)}\n`, 0o600).catch((error: unknown) => {
      this.#dirty = true;
      throw error;
    });
  }
}

function clusterOfKey(key: string): string {
  return key.slice(memberKey("" as ClusterName).length);
}

function parseSealed(text: string): Partial<SealedMember> & { readonly version: number } {
  try {
    const { member, version, seal } = JSON.parse(text) as Partial<SealedMember>;
    const usable = typeof version === "number" && typeof seal === "string";
    return usable ? { member, version, seal } : { version: 0 };
  } catch {
    return { version: 0 };
  }
}

function sameText(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

async function readMemory(path: string): Promise<Memory> {
  if (!(await fileExists(path))) return { members: {}, redeemed: {} };
  const text = await readSecretFile(path);
  try {
    const { members, redeemed } = JSON.parse(text) as Partial<Memory>;
    if (members !== undefined && redeemed !== undefined) return { members, redeemed };
  } catch {
    throw damaged(path);
  }
  throw damaged(path);
}

function damaged(path: string): UserError {
  return new UserError("ISTHMUS_DATA", `${path} is damaged`, { hint: "restore it from a backup of the data folder" });
}
