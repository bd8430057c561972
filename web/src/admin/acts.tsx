// Acts and their consequences: a dangerous one is confirmed first, each is reported after, and where there is a way
// back, the report offers it.

import { useQueryClient } from '@tanstack/react-query';
import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useId,
  useMemo,
  useRef,
  useState,
} from 'react';
import { Dialog } from '../ui/parts/dialog';
import { Icon } from '../ui/parts/icons';
import { NOTICE_TIME, NOTICES } from './limits';
import { explainAdmin } from './logic';

export interface Act {
  /** Names what is done and to whom: "Disable ann". */
  readonly label: string;
  readonly run: () => Promise<unknown>;
  /** Said when it is done: "ann is disabled." */
  readonly done: string;
  /** Asked before; acts without it are done at once. */
  readonly confirm?: {
    readonly consequence: ReactNode;
    /** What is acted on, if it is worth showing. */
    readonly quote?: string;
    /** Styled as a harm; the others are merely worth a second look. */
    readonly harm: boolean;
  };
  /** The way back, if there is one. */
  readonly undo?: () => Act;
  /** First parts of the keys of the queries that this changes; the audit log always is. */
  readonly changes: readonly string[];
}

interface Notice {
  readonly key: number;
  readonly text: string;
  readonly bad: boolean;
  readonly undo: Act | null;
}

interface Acts {
  /** Does an act, after confirmation if it wants one. */
  readonly start: (act: Act) => void;
  readonly say: (text: string) => void;
}

const Context = createContext<Acts | null>(null);

export function useActs(): Acts {
  const acts = useContext(Context);
  if (acts === null) throw new Error('useActs needs an ActProvider above it');
  return acts;
}

export function ActProvider({ children }: { readonly children: ReactNode }) {
  const cache = useQueryClient();
  const [asked, setAsked] = useState<Act | null>(null);
  const [notices, setNotices] = useState<readonly Notice[]>([]);
  const serial = useRef(0);

  const show = useCallback((text: string, bad: boolean, undo: Act | null) => {
    serial.current += 1;
    const notice = { key: serial.current, text, bad, undo };
    setNotices((now) => [...now, notice].slice(-NOTICES));
  }, []);
  const dismiss = useCallback((key: number) => setNotices((now) => now.filter((notice) => notice.key !== key)), []);

  const perform = useCallback(
    async (act: Act) => {
      await act.run();
      for (const key of [...act.changes, 'audit']) void cache.invalidateQueries({ queryKey: [key] });
      show(act.done, false, act.undo?.() ?? null);
      keepFocus();
    },
    [cache, show],
  );
  const start = useCallback(
    (act: Act) => {
      if (act.confirm === undefined) perform(act).catch((error: unknown) => show(explainAdmin(error), true, null));
      else setAsked(act);
    },
    [perform, show],
  );
  const acts = useMemo(() => ({ start, say: (text: string) => show(text, false, null) }), [start, show]);

  return (
    <Context value={acts}>
      {children}
      {asked !== null && <Confirm act={asked} perform={perform} onClose={() => setAsked(null)} />}
      <div className="notices" role="status">
        {notices.map((notice) => (
          <NoticeLine key={notice.key} notice={notice} onUndo={start} onDismiss={dismiss} />
        ))}
      </div>
    </Context>
  );
}

interface ConfirmProps {
  readonly act: Act;
  readonly perform: (act: Act) => Promise<void>;
  readonly onClose: () => void;
}

function Confirm({ act, perform, onClose }: ConfirmProps) {
  const about = useId();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const confirm = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await perform(act);
      onClose();
    } catch (error) {
      setProblem(explainAdmin(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={`${act.label}?`} onClose={onClose} alert>
      {act.confirm?.quote !== undefined && (
        <blockquote className="dialog-quote" dir="auto">
          {act.confirm.quote}
        </blockquote>
      )}
      <p id={about}>{act.confirm?.consequence}</p>
      {problem !== null && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
      <div className="dialog-actions">
        {/* biome-ignore lint/a11y/noAutofocus: the harmless answer is the first one. */}
        <button type="button" className="button" aria-describedby={about} onClick={onClose} autoFocus>
          Cancel
        </button>
        <button
          type="button"
          className={act.confirm?.harm ? 'button danger' : 'button primary'}
          disabled={busy}
          onClick={() => void confirm()}
        >
          {act.label}
        </button>
      </div>
    </Dialog>
  );
}

interface NoticeLineProps {
  readonly notice: Notice;
  readonly onUndo: (act: Act) => void;
  readonly onDismiss: (key: number) => void;
}

function NoticeLine({ notice, onUndo, onDismiss }: NoticeLineProps) {
  const { key, text, undo, bad } = notice;
  useEffect(() => {
    if (undo !== null || bad) return;
    const timer = setTimeout(() => onDismiss(key), NOTICE_TIME);
    return () => clearTimeout(timer);
  }, [key, undo, bad, onDismiss]);
  return (
    <div className={bad ? 'notice popover bad' : 'notice popover'}>
      <span className="notice-text">{text}</span>
      {undo !== null && (
        <button
          type="button"
          className="link-button"
          aria-label={`Undo: ${undo.label}`}
          onClick={() => {
            onDismiss(key);
            // Whoever takes back has decided: it is not asked again.
            const { confirm: _, undo: __, ...plain } = undo;
            onUndo(plain);
          }}
        >
          Undo
        </button>
      )}
      <button type="button" className="icon-button" aria-label="Dismiss" onClick={() => onDismiss(key)}>
        <Icon name="close" />
      </button>
    </div>
  );
}

/** If what had the focus is gone with the act, the panel's title gets it instead of nothing. */
function keepFocus(): void {
  setTimeout(() => {
    const active = document.activeElement;
    if (active === null || active === document.body) document.querySelector<HTMLElement>('.panel-title')?.focus();
  }, 400);
}
