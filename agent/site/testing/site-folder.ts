// A site's two folders in a temporary one, and manifests to put into them.
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ownGround } from "../../../shared/testing/ground.ts";
import { parseSiteOptions, type SiteConfig, type SiteOptions } from "../site-config.ts";

export interface SiteFolder {
  readonly top: string;
  readonly data: string;
  readonly manifests: string;
  write(file: string, text: string): Promise<void>;
  config(options?: Partial<SiteOptions>): Promise<SiteConfig>;
  remove(): Promise<void>;
}

export async function makeSiteFolder(): Promise<SiteFolder> {
  const top = await realpath(await mkdtemp(join(tmpdir(), "isthmus-site-")));
  const [data, manifests] = [join(top, "data"), join(top, "manifests")];
  await mkdir(manifests);
  return {
    ...{ top, data, manifests },
    write: (file, text) => writeFile(join(manifests, file), text),
    config: async (options = {}) => {
      const ground = await ownGround();
      const [adsPort, adminPort] = [await ground.port(), await ground.port()];
      return parseSiteOptions({ data, manifests, adsPort, adminPort, gateway: "127.0.0.1:15443", ...options });
    },
    remove: () => rm(top, { recursive: true, force: true }),
  };
}

export function workloadManifest(name: string, spec = ""): string {
  return `apiVersion: isthmus.dev/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop }
spec:
  serviceAccount: ${name}
  service: ${name}
  ports:
    - { name: http, port: 8080, appProtocol: http, application: "127.0.0.1:9090" }
${spec}`;
}

export function exportManifest(name: string): string {
  return `apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: { name: ${name}, namespace: shop }
`;
}
