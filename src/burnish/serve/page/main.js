// The drawing page put together: the pad, images that are given, the server's answers.

import { Answer, Questions } from "./answer.js";
import { Pad } from "./pad.js";
import { listen, readPicture } from "./picture.js";

const find = (id) => document.getElementById(id);
const answer = new Answer();
const questions = new Questions(answer);

function ask(make) {
  answer.empty = false;
  questions.ask(make);
}

if (document.documentElement.dataset.recipe === "digit") {
  let file = null;
  const pad = new Pad(find("pad"), () => {
    if (!pad.picture) file = null;
    find("undo").disabled = find("clear").disabled = pad.empty;
    find("hint").hidden = !pad.empty;
    if (pad.empty) questions.forget();
    else ask(() => file ?? pad.toBlob());
  });
  find("undo").addEventListener("click", () => pad.undo());
  find("clear").addEventListener("click", () => pad.clear());
  listen(find("file-digit"), find("pad-frame"), async (chosen) => {
    try {
      const picture = await readPicture(chosen);
      file = picture.blob;
      pad.show(picture.bitmap);
    } catch (error) {
      answer.complain(error.message);
    }
  });
} else {
  const preview = find("preview");
  listen(find("file-plain"), find("drop"), async (chosen) => {
    try {
      const { blob } = await readPicture(chosen);
      URL.revokeObjectURL(preview.src);
      preview.src = URL.createObjectURL(blob);
      preview.alt = chosen.name;
      preview.hidden = false;
      find("ask").hidden = true;
      ask(() => blob);
    } catch (error) {
      answer.complain(error.message);
    }
  });
}
