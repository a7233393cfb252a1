// The identity of a member without Kubernetes (a site): one file of mode 0600. Implements IdentityStore.
import { UserError } from "../../shared/errors.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import { decodeIdentity, encodeIdentity, type IdentityStore } from "./identity-state.ts";

export function fileIdentityStore(path: string): IdentityStore {
  return {
    load: async () => {
      if (!(await fileExists(path))) return undefined;
      const state = decodeIdentity(JSON.parse(await readSecretFile(path)) as Record<string, string>);
      if (state.ok) return state.value;
      throw new UserError("ISTHMUS_IDENTITY", `${path}: ${state.error[0]?.message ?? "unreadable"}`, {
        hint: "restore it, or remove it and join again with a new token",
      });
    },
    save: (state) => writeSecretFile(path, `${JSON.stringify(encodeIdentity(state), null, 2)}\n`, 0o600),
  };
}
