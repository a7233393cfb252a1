// Puts a file into the build context without copying its bytes where the file system allows it.
import { copyFile, link } from "node:fs/promises";

export async function placeFile(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    // another file system, or one without hard links
    if (!["EXDEV", "EPERM", "EMLINK"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    await copyFile(from, to);
  }
}
