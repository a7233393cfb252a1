// A root that the hub makes itself and keeps in its key store; the root's own key signs for the fleet. Called by authority.ts.
import { UserError } from "../../shared/errors.ts";
import { hexOf } from "../../shared/pki/hex.ts";
import { issueCertificate } from "../../shared/pki/issue.ts";
import type { SigningPool } from "../../shared/pki/signing-pool.ts";
import { rootTemplate, validityFrom } from "../../shared/pki/template.ts";
import { keyIdOf } from "../../shared/pki/x509-builder.ts";
import { keyedIssuer } from "./certificate-issuer.ts";
import type { KeyStore } from "./key-store.ts";
import { writeRootCertificate, type RootSource } from "./root.ts";

const purpose = "root";

export function selfMadeRoots(dataDir: string, keys: KeyStore, pool: SigningPool): RootSource {
  return {
    prepare: async ({ id, fleet, nowMs, ttlMs }) => {
      const key = await keys.createSigner(id, purpose);
      const validity = validityFrom(nowMs, ttlMs, Number.MAX_SAFE_INTEGER);
      if (!validity.ok) throw new Error(`no validity for a root: ${JSON.stringify(validity.error)}`);
      const template = rootTemplate(fleet, hexOf(keyIdOf(key.spkiDer)).slice(0, 8), validity.value);
      const issued = await issueCertificate(template, key.spkiDer, { key, certificate: undefined });
      if (!issued.ok) throw new Error(`the new root does not match its profile: ${JSON.stringify(issued.error)}`);
      await writeRootCertificate(dataDir, id, issued.value);
    },
    issuer: async (id, facts) => {
      const key = await keys.openSigner(id, purpose);
      if (hexOf(key.spkiDer) !== hexOf(facts.publicKey.spkiDer)) {
        throw new UserError("ISTHMUS_ROOT_FILE", `the certificate of root ${id} does not belong to its key`, {
          hint: "restore both from one backup",
        });
      }
      return keyedIssuer({ key, facts, chainDer: [] }, pool);
    },
    remove: (id) => keys.remove(id, purpose),
  };
}
