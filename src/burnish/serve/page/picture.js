// Images that are chosen, dropped or pasted: what the server takes goes as it is, anything
// larger or of another format is drawn again, smaller, as PNG.

const TAKEN = ["image/png", "image/jpeg"];
const MAX_BYTES = 2 * 2 ** 20;
const MAX_PIXELS = 4e6;
const SIDE = 1024;

// Gives {bitmap, blob}: the picture to show, and the file to send.
export async function readPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`“${file.name}” is not an image that this browser can read.`);
  }
  const small = file.size <= MAX_BYTES && bitmap.width * bitmap.height <= MAX_PIXELS;
  if (small && TAKEN.includes(file.type)) return { bitmap, blob: file };
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  let blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob.size > MAX_BYTES) {
    blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  }
  return { bitmap, blob };
}

// Calls `take` with a file that is chosen with `input`, dropped on `area`, or pasted anywhere.
export function listen(input, area, take) {
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // So that the same file can be chosen again.
  });
  for (const name of ["dragenter", "dragover"]) {
    area.addEventListener(name, (event) => {
      event.preventDefault();
      area.classList.add("dropping");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    area.addEventListener(name, (event) => {
      event.preventDefault();
      area.classList.remove("dropping");
    });
  }
  area.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  // A file that misses the area would otherwise replace the page.
  for (const name of ["dragover", "drop"]) {
    document.addEventListener(name, (event) => event.preventDefault());
  }
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) take(file);
  });
}
