// The fleet's roots as PEM, made again only when the bundle is another: an equal text is the same string.
import { certificatePem } from "../../shared/pki/pem.ts";
import type { AgentCredential } from "./agent-credential.ts";

export function rootsReader(credential: Pick<AgentCredential, "state">): () => string {
  let seen: object | undefined;
  let pem = "";
  return () => {
    const { bundle } = credential.state();
    if (bundle !== seen) pem = bundle.rootsDer.map(certificatePem).join("");
    seen = bundle;
    return pem;
  };
}
