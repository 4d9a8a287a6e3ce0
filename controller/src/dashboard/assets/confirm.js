// The dialog before a command.

import { h, progress, shortImage, spaced } from './parts.js';

const element = (id) => document.getElementById(id);

function words(verb, rollout) {
  const held = `${rollout.weight} % of the traffic`;
  switch (verb) {
    case 'promote':
      if (rollout.phase === 'Waiting') return ['Approve the rollout?', 'The gate is opened and the new revision is scaled up and analysed.', 'Approve'];
      if (rollout.phase === 'WaitingPromotion') return ['Promote the new revision?', 'The gate is opened and the primary is updated to the new revision.', 'Promote'];
      return ['Take the next step now?', 'The next step begins at once, without waiting for the checks of this one.', 'Take the step'];
    case 'promote-full':
      return ['Skip the rest of the analysis?', 'The primary is updated to the new revision now. Nothing more is checked.', 'Skip and promote'];
    case 'pause':
      return ['Pause the rollout?', `The canary keeps ${held}, and no checks are made, until somebody resumes it.`, 'Pause'];
    case 'resume':
      return ['Resume the rollout?', 'The analysis goes on where it was held.', 'Resume'];
    case 'abort':
      return ['Abort the rollout?', 'The new revision is taken back: all traffic goes to the primary, and the canary is scaled to zero.', 'Abort the rollout'];
    case 'undo':
      return ['Go back in Git?', 'A commit or a pull request asks for what was promoted before this revision, and that is rolled out like any change.', 'Go back'];
    default:
      return ['Roll it out again?', 'The revision that failed is analysed again, from the start.', 'Retry'];
  }
}

/** Asks; true when the answer is yes. Escape and a click beside the dialog are a no. */
export function confirm(verb, rollout, user) {
  const dialog = element('confirm');
  const [title, text, yes] = words(verb, rollout);
  const risky = verb === 'abort' || verb === 'promote-full' || verb === 'undo';
  element('confirm-title').textContent = title;
  element('confirm-text').textContent = text;
  const images = [...rollout.stableImages.map(shortImage), '→', ...rollout.canaryImages.map(shortImage)].join(' ');
  const facts = [
    ['Rollout', `${rollout.namespace}/${rollout.name}`],
    ['Stands at', `${spaced(rollout.phase)}, ${progress(rollout)}`],
    rollout.canaryImages.length && ['Images', images],
    ['Recorded as', user],
  ];
  element('confirm-facts').replaceChildren(...facts.filter(Boolean).flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
  element('confirm-yes').textContent = yes;
  element('confirm-yes').className = risky ? 'danger full' : 'strong';
  return new Promise((resolve) => {
    let answer = false;
    element('confirm-yes').onclick = () => { answer = true; dialog.close(); };
    element('confirm-no').onclick = () => dialog.close();
    dialog.onclick = (event) => event.target === dialog && dialog.close();
    // The event comes after the closing: an earlier question's may come when this one is already asked.
    dialog.onclose = () => dialog.open || resolve(answer);
    dialog.showModal();
    element(risky ? 'confirm-no' : 'confirm-yes').focus();
  });
}
