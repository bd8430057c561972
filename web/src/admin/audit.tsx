// The audit log: who did what to whom, newest first. The filter looks through the lines that are loaded.

import { useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { PAGE, TITLE_CHARS } from './limits';
import { actionWords, auditMatches } from './logic';
import { PanelHead, Search, When } from './parts';
import { type Column, Paged, Table } from './table';
import { type AuditLine, type AuditPage, api } from './wire';

const COLUMNS: readonly Column<AuditLine>[] = [
  { key: 'at', head: 'Time', cell: (line) => <When at={line.at} />, value: (line) => Date.parse(line.at) },
  {
    key: 'actor',
    head: 'Who',
    cell: (line) => (line.actor_id === null ? `${line.actor} (command line)` : line.actor),
    value: (line) => line.actor.toLowerCase(),
  },
  {
    key: 'action',
    head: 'What',
    cell: (line) => <span title={line.action}>{actionWords(line.action)}</span>,
    value: (line) => actionWords(line.action),
  },
  { key: 'target', head: 'To what', cell: (line) => <bdi>{line.target}</bdi>, value: (line) => line.target },
  {
    key: 'detail',
    head: 'Details',
    cell: (line) => (line.detail === '' ? <span className="soft">–</span> : <bdi>{line.detail}</bdi>),
  },
];

export function Audit() {
  const [search, setSearch] = useState('');
  const query = useInfiniteQuery({
    queryKey: ['audit'],
    queryFn: ({ pageParam }) => api.adminAudit<AuditPage>({ before: pageParam, limit: PAGE }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => (page.has_more ? page.entries.at(-1)?.id : undefined),
  });
  const lines = query.data?.pages.flatMap((page) => page.entries) ?? [];
  const shown = lines.filter((line) => auditMatches(line, search.trim()));
  const empty =
    lines.length === 0
      ? 'Nothing has been done yet. What superusers do is written down here.'
      : `None of the ${lines.length} lines loaded fits.`;
  return (
    <>
      <PanelHead title="Audit log">
        <div className="tools">
          <Search label="Filter what is shown" value={search} onChange={setSearch} most={TITLE_CHARS} />
        </div>
      </PanelHead>
      <Paged query={query} rows={shown.length} empty={empty} more="Older lines">
        <Table caption="Audit log, newest first" columns={COLUMNS} rows={shown} rowKey={(line) => line.id} />
      </Paged>
    </>
  );
}
