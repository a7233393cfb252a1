// What a hub needs in its data folder besides the certificate authority's files: the address that goes into join tokens,
// and the pepper of token HMACs, which must never be in Redis. Written by `isthmus init`, read at start.
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../shared/errors.ts";
import { writeSecretFile } from "../shared/pki/secret-file.ts";

const pepperBytes = 32;

export interface HubFile {
  readonly advertise: string;
  readonly pepper: Uint8Array;
}

export async function writeHubFile(dataDir: string, advertise: string): Promise<void> {
  await writeSecretFile(join(dataDir, "pepper"), randomBytes(pepperBytes).toString("base64url"), 0o600);
  await writeSecretFile(join(dataDir, "hub.json"), `${JSON.stringify({ version: 1, advertise })}\n`, 0o600);
}

export async function readHubFile(dataDir: string): Promise<HubFile> {
  const [config, pepperText] = await Promise.all([read(dataDir, "hub.json"), read(dataDir, "pepper")]);
  const { advertise } = JSON.parse(config) as { advertise?: unknown };
  const pepper = Buffer.from(pepperText.trim(), "base64url");
  if (typeof advertise !== "string" || pepper.length !== pepperBytes) {
    throw new UserError("ISTHMUS_DATA", `hub.json or pepper in ${dataDir} is damaged`, {
      hint: "restore the data folder",
    });
  }
  return { advertise, pepper };
}

async function read(dataDir: string, name: string): Promise<string> {
  return readFile(join(dataDir, name), "utf8").catch((cause: unknown) => {
    throw new UserError("ISTHMUS_DATA", `${dataDir} is no data folder of a hub: ${name} is missing`, {
      cause,
      hint: `make one: isthmus init FLEET.DOMAIN --data ${dataDir}`,
    });
  });
}
