/** The one script of the console. Everything works without it; with it the overview refreshes itself, and orders are confirmed in a dialog. */

export const SCRIPT = `'use strict';
// The overview: fetched anew every few seconds while somebody can see it and does not work in it.
const live = document.querySelector('[data-refresh]');
if (live) {
  const refresh = async () => {
    if (document.hidden || live.contains(document.activeElement) || String(getSelection()) !== '') return;
    try {
      const answer = await fetch(live.dataset.refresh, { credentials: 'same-origin', redirect: 'error' });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const parsed = new DOMParser().parseFromString(await answer.text(), 'text/html');
      live.replaceChildren(...parsed.body.childNodes);
      live.classList.remove('stale');
    } catch {
      live.classList.add('stale');
    }
  };
  setInterval(refresh, 5000);
  document.addEventListener('visibilitychange', refresh);
}

// A tick for all.
const table = document.querySelector('#messages');
if (table) {
  const boxes = [...table.querySelectorAll('tbody input[type=checkbox]')];
  const all = document.createElement('input');
  all.type = 'checkbox';
  all.id = 'choose-all';
  all.setAttribute('aria-label', 'Choose all of this page');
  all.addEventListener('change', () => boxes.forEach((box) => { box.checked = all.checked; }));
  table.addEventListener('change', () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  });
  table.querySelector('thead th').append(all);
}

// An order is confirmed where one is: the page that asks for it, in a dialog.
for (const form of document.querySelectorAll('form[data-dialog]')) {
  form.addEventListener('submit', async (event) => {
    const query = new URLSearchParams(new FormData(form, event.submitter));
    if (typeof HTMLDialogElement !== 'function') return;
    event.preventDefault();
    const address = form.getAttribute('action') + '?' + query;
    try {
      const answer = await fetch(address, { credentials: 'same-origin', redirect: 'error' });
      if (!answer.ok) throw new Error(String(answer.status));
      const asked = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('#confirm');
      if (!asked) throw new Error('no question');
      const dialog = document.createElement('dialog');
      dialog.id = 'dialog';
      dialog.setAttribute('aria-labelledby', 'confirm-title');
      dialog.append(asked);
      dialog.addEventListener('close', () => { dialog.remove(); event.submitter?.focus(); });
      dialog.addEventListener('click', (click) => {
        if (click.target.closest('[data-close]')) { click.preventDefault(); dialog.close(); }
      });
      // The answer to an export is a file: the page stays.
      dialog.querySelector('form')?.addEventListener('submit', () => {
        if (query.get('act') === 'export') setTimeout(() => dialog.close(), 0);
      });
      document.body.append(dialog);
      dialog.showModal();
    } catch {
      location.assign(address);
    }
  });
}

// What was done is said once, and heard.
const flash = document.querySelector('#flash');
if (flash) {
  flash.tabIndex = -1;
  flash.focus();
}
`;
