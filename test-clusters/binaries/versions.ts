// What is downloaded or built, pinned. Hashes are those the publisher gives (Kubernetes changelog) or, for the
// Go toolchain, of the zip that go.sum-style verification covers; a changed file is refused, not trusted.
import type { Hash } from "../../shared/programs/download.ts";

type PerArch<T> = Readonly<Record<"amd64" | "arm64", T>>;

const sha256 = (hex: string): Hash => ({ algorithm: "sha256", hex });
const sha512 = (hex: string): Hash => ({ algorithm: "sha512", hex });

/** 1.34 is the last line that runs on containerd 1.6 and cgroup v1. */
export const KUBERNETES = "v1.34.4";
/** binaries/kube/go.mod says the same, binaries/coredns/go.mod the version of CoreDNS; a test compares them. */
export const ETCD = "v3.6.4";

export const kubernetesArchive: PerArch<Hash> = {
  amd64: sha512(
    "65c75e81e3ea488f6d42b493cad64d7577ddfa1e5372037a1c841ac069039997d359b5b2f2d44e7665bf04c48ed0065cf9d4c9801b1e63bb6a1b099ef00d4863",
  ),
  arm64: sha512(
    "a1fad7060ed67b5634f32f3256a295179dd887dab5c82b8550c2eb62c69df34cfbb311c8f93e7608d558eba32b9e2ddc23976db39e512fd747cc6bf9b4c1765f",
  ),
};

/** A Go on PATH that is at least this is used; it fetches a newer one itself where a module asks for it. */
export const GO_NEEDED = { major: 1, minor: 24 } as const;
export const GO_TOOLCHAIN = "1.26.8";

export const goToolchainZip: PerArch<Hash> = {
  amd64: sha256("30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7"),
  arm64: sha256("02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99"),
};

export const COREDNS = "v1.15.0";
export const HELM = "v3.22.0";
