// Adding somebody to a room by name: a field with the names that fit.

import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useId, useState } from 'react';
import { ApiError } from '../../client';
import { COMPLETIONS, SEARCH_PAUSE } from '../logic/limits';
import { isName } from '../logic/names';
import { useClient } from '../parts/context';
import { explain } from '../parts/explain';
import { useSettled } from '../parts/hooks';

export function AddMember({ roomId }: { readonly roomId: string }) {
  const { api } = useClient();
  const queries = useQueryClient();
  const listId = useId();
  const [name, setName] = useState('');
  const [answer, setAnswer] = useState<{ wrong: boolean; text: string } | null>(null);
  const settled = useSettled(name, SEARCH_PAUSE);
  const found = useQuery({
    queryKey: ['find-users', settled],
    queryFn: () => api.findUsers(settled, COMPLETIONS),
    enabled: isName(settled),
  });
  const add = useMutation({
    mutationFn: (user: string) => api.putMember(roomId, user),
    onSuccess: (member) => {
      setName('');
      setAnswer({ wrong: false, text: `Added ${member.username}.` });
      void queries.invalidateQueries({ queryKey: ['members', roomId] });
    },
    onError: (error) => {
      const missing = error instanceof ApiError && error.code === 'not_found';
      setAnswer({ wrong: true, text: missing ? 'There is nobody of that name.' : explain(error) });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isName(name)) add.mutate(name);
    else setAnswer({ wrong: true, text: 'Enter somebody’s name.' });
  };
  return (
    <form className="details-form" onSubmit={submit}>
      <input
        className="input"
        aria-label="Add somebody"
        placeholder="Add somebody"
        list={listId}
        value={name}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        onChange={(event) => {
          setName(event.target.value.trim());
          setAnswer(null);
        }}
      />
      <datalist id={listId}>
        {found.data?.users.map((user) => (
          <option key={user.id} value={user.username} />
        ))}
      </datalist>
      <button type="submit" className="button" disabled={add.isPending || name === ''}>
        Add
      </button>
      {answer !== null && (
        <p className={answer.wrong ? 'field-error' : 'field-hint'} role="status">
          {answer.text}
        </p>
      )}
    </form>
  );
}
