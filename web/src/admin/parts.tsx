// Small parts that several panels share.

import type { ReactNode } from 'react';
import { Button, Menu, MenuItem, MenuTrigger, Popover } from 'react-aria-components';
import { dateTime, exact } from '../ui/logic/time';
import { Icon } from '../ui/parts/icons';
import { useActs } from './acts';

export function PanelHead({ title, children }: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <div className="panel-head">
      {/* Takes the focus when what had it is gone. */}
      <h2 className="panel-title" tabIndex={-1}>
        {title}
      </h2>
      {children}
    </div>
  );
}

export function When({ at }: { readonly at: string }) {
  const time = Date.parse(at);
  return (
    <time dateTime={at} title={exact(time)}>
      {dateTime(time)}
    </time>
  );
}

export function Tag({ kind, children }: { readonly kind?: 'bad' | 'good'; readonly children: ReactNode }) {
  return <span className={kind === undefined ? 'tag' : `tag ${kind}`}>{children}</span>;
}

interface SearchProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly most: number;
}

export function Search({ label, value, onChange, most }: SearchProps) {
  return (
    <label className="search">
      <span className="visually-hidden">{label}</span>
      <Icon name="search" />
      <input
        className="input"
        type="search"
        placeholder={label}
        value={value}
        maxLength={most}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        onChange={(event) => onChange(event.target.value)}
      />
    </label>
  );
}

export interface RowAct {
  readonly label: string;
  readonly harm?: boolean;
  readonly onAction: () => void;
}

/** What can be done to a row. */
export function RowMenu({ name, acts }: { readonly name: string; readonly acts: readonly RowAct[] }) {
  return (
    <MenuTrigger>
      <Button className="button row-menu" aria-label={`Actions for ${name}`}>
        Actions
        <svg className="icon" viewBox="0 0 16 16" width="12" height="12" aria-hidden="true" focusable="false">
          <path d="m3.500 6 4.500 4.500L12.500 6" fill="none" stroke="currentColor" strokeWidth="1.6" />
        </svg>
      </Button>
      <Popover className="popover menu-popover" placement="bottom end">
        <Menu className="menu">
          {acts.map((act) => (
            <MenuItem
              key={act.label}
              className={act.harm ? 'menu-item harm' : 'menu-item'}
              textValue={act.label}
              onAction={act.onAction}
            >
              {act.label}
            </MenuItem>
          ))}
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}

/** Copies a text and says so. */
export function CopyButton({ label, text, done }: { readonly label: string; readonly text: string; done: string }) {
  const { say } = useActs();
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => say(done),
      () => say('The browser didn’t allow copying. Select the text and copy it.'),
    );
  return (
    <button type="button" className="button" onClick={() => void (navigator.clipboard ? copy() : say(NO_CLIPBOARD))}>
      <Icon name="copy" />
      {label}
    </button>
  );
}

/** Browsers offer the clipboard to safe origins only. */
const NO_CLIPBOARD = 'Copying needs https or localhost. Select the text and copy it.';
