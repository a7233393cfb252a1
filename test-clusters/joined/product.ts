// The `isthmus` command with what it needs to install agents on PATH.
import { dirname } from "node:path";
import process from "node:process";
import { ensureHelm } from "../binaries/go-programs.ts";
import type { Fleet } from "../fleet.ts";
import type { Progress } from "../../shared/progress.ts";
import { productIn, type Product } from "../stage/product.ts";

export async function openProduct(fleet: Fleet, progress: Progress): Promise<Product> {
  const helm = await ensureHelm(progress);
  const folders = [dirname(process.execPath), dirname(helm), dirname(fleet.kubectlProgram)];
  return productIn({
    ...process.env,
    PATH: `${folders.join(":")}:${process.env["PATH"] ?? ""}`,
    KUBECONFIG: fleet.kubeconfigPath,
  });
}
