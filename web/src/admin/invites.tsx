// Invites: make one, hand its address on, withdraw it.

import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { type Act, useActs } from './acts';
import { INVITE_DAYS, INVITE_USES } from './limits';
import { explainAdmin, plural, wholeNumber } from './logic';
import { CopyButton, PanelHead, When } from './parts';
import { type Column, Failed, RowsSkeleton, Table } from './table';
import { api, type Invite } from './wire';

const COLUMNS: readonly Column<Invite>[] = [
  { key: 'code', head: 'Code', cell: (invite) => <code className="id">{invite.code}</code> },
  {
    key: 'uses',
    head: 'Registrations left',
    numeric: true,
    cell: (invite) => String(invite.uses_left),
    value: (invite) => invite.uses_left,
  },
  {
    key: 'expires',
    head: 'Good until',
    cell: (invite) => <When at={invite.expires_at} />,
    value: (invite) => Date.parse(invite.expires_at),
  },
  { key: 'by', head: 'Made by', cell: (invite) => invite.by, value: (invite) => invite.by.toLowerCase() },
];

/** The page that registers with an invite filled in. */
const addressOf = (invite: Invite): string => `${window.location.origin}/?invite=${encodeURIComponent(invite.code)}`;

export function Invites() {
  const { start } = useActs();
  const query = useQuery({
    queryKey: ['invites'],
    queryFn: () => api.adminInvites<{ invites: readonly Invite[] }>(),
  });
  const info = useQuery({ queryKey: ['info'], queryFn: () => api.info(), staleTime: 60_000 });
  const invites = query.data?.invites ?? [];
  return (
    <>
      <PanelHead title="Invites" />
      {info.data !== undefined && info.data.registration !== 'invite' && (
        <p className="panel-note">
          Registration is {info.data.registration} on this server, so an invite is of no use until it is set to
          “invite”.
        </p>
      )}
      <MakeInvite />
      {query.isPending && <RowsSkeleton />}
      {query.isError && <Failed error={query.error} onRetry={() => void query.refetch()} />}
      {query.isSuccess && invites.length === 0 && <p className="empty-line">No invite is good at the moment.</p>}
      {invites.length > 0 && (
        <Table
          caption="Invites that are good now"
          columns={COLUMNS}
          rows={invites}
          rowKey={(invite) => invite.code}
          actions={(invite) => (
            <div className="row-buttons">
              <CopyButton label="Copy link" text={addressOf(invite)} done="The link of the invite is copied." />
              <button type="button" className="button harm" onClick={() => start(withdraw(invite))}>
                Withdraw {short(invite)}
              </button>
            </div>
          )}
        />
      )}
    </>
  );
}

function MakeInvite() {
  const cache = useQueryClient();
  const { say } = useActs();
  const [uses, setUses] = useState('1');
  const [days, setDays] = useState('7');
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const [good, long] = [wholeNumber(uses, INVITE_USES), wholeNumber(days, INVITE_DAYS)];
    if (good === null) return setProblem(`Registrations: a whole number from 1 to ${INVITE_USES}.`);
    if (long === null) return setProblem(`Days: a whole number from 1 to ${INVITE_DAYS}.`);
    setBusy(true);
    setProblem(null);
    try {
      await api.adminCreateInvite({ uses: good, days: long });
      say(`An invite for ${plural(good, 'registration', 'registrations')} is made.`);
      for (const key of ['invites', 'audit']) void cache.invalidateQueries({ queryKey: [key] });
    } catch (error) {
      setProblem(explainAdmin(error));
    }
    setBusy(false);
  };
  return (
    <form className="lookup inline" aria-label="Make an invite" onSubmit={(event) => void submit(event)}>
      <NumberField label="Registrations" value={uses} onChange={setUses} />
      <NumberField label="Days" value={days} onChange={setDays} />
      <button type="submit" className="button primary" disabled={busy}>
        Make an invite
      </button>
      {problem !== null && (
        <p className="field-error" role="alert">
          {problem}
        </p>
      )}
    </form>
  );
}

interface NumberFieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

function NumberField({ label, value, onChange }: NumberFieldProps) {
  return (
    <label className="field narrow">
      <span className="field-label">{label}</span>
      <input
        className="input"
        inputMode="numeric"
        value={value}
        maxLength={4}
        autoComplete="off"
        onChange={(event) => onChange(event.target.value)}
      />
    </label>
  );
}

const short = (invite: Invite): string => `${invite.code.slice(0, 6)}…`;

function withdraw(invite: Invite): Act {
  return {
    label: `Withdraw ${short(invite)}`,
    run: () => api.adminDeleteInvite(invite.code),
    done: `The invite ${short(invite)} is withdrawn.`,
    confirm: {
      harm: true,
      consequence:
        'Whoever has it and hasn’t registered yet can’t any more. Accounts made with it stay. This can’t be undone, but you can make a new one.',
    },
    changes: ['invites'],
  };
}
