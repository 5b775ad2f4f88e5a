extension RoomBatch {
    /// Allowed for OWNER and ADMIN. Only the answer contains the token: every member hears of the invitation, without
    /// it.
    mutating func createInvitation(_ draft: InvitationDraft, _ command: Command) throws(Refusal) -> CommandOutcome {
        try mayInvite(command)
        _ = try isKnown(command)
        if let sign = command.sign,
            let earlier = invitations.values.first(where: {
                $0.createdBy == command.actor && $0.sign.map { areSameBytes($0, sign) } == true
            })
        {
            guard earlier.roomID == command.room, earlier.maxUses == draft.maxUses else { throw .otherRequest }
            return answered(body(of: earlier), command, inFrame: false)
        }
        let open = invitations.values.count { $0.roomID == command.room && $0.ended(at: now) == nil }
        guard open < limits.invitations else {
            throw Refusal(.conflict, "the room has \(open) open invitations: revoke one first")
        }
        let invitation = Invitation(
            id: command.id, roomID: command.room, token: draft.token, createdBy: command.actor, sign: command.sign,
            expiresAt: draft.expiresAt, maxUses: draft.maxUses, createdAt: now)
        put(invitation: invitation)
        keepRequest(command)
        _ = changed(.invitationCreated, invitation: invitation, first: false, command)
        return answered(body(of: invitation), command, inFrame: false)
    }

    mutating func revokeInvitation(_ id: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        try mayInvite(command)
        guard var invitation = invitations[id], invitation.roomID == command.room else {
            throw Refusal(.notFound, "there is no such invitation to this room")
        }
        guard invitation.revokedAt == nil else { return answered(body(of: invitation), command, inFrame: false) }
        invitation.revokedAt = now
        put(invitation: invitation)
        _ = changed(.invitationRevoked, invitation: invitation, first: false, command)
        return answered(body(of: invitation), command, inFrame: false)
    }

    /// Anyone with the link may join, within the room's limit and bans. A member who joins again uses nothing up.
    mutating func join(by id: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        guard let room = rooms[command.room], room.deletedAt == nil, var invitation = invitations[id],
            invitation.roomID == room.id
        else { throw Refusal(.notFound, "there is no such invitation") }
        if let member = members[MemberKey(room.id, command.actor)] {
            guard member.bannedAt == nil else { throw Refusal(.banned, "you are banned from this room") }
            if member.isActive { return answered(view(of: room, for: command.actor), command, inFrame: false) }
        }
        if let reason = invitation.ended(at: now) { throw Refusal(.gone, reason) }
        try refuseForbidden(command.id)
        let outcome = try admit([command.actor], to: room, command)
        invitation.uses += 1
        put(invitation: invitation)
        return outcome
    }

    private func mayInvite(_ command: Command) throws(Refusal) {
        let actor = try member(command)
        guard try room(command.room).type != .privateRoom else {
            throw Refusal(.forbidden, "a PRIVATE room always has two members")
        }
        guard actor.role >= .admin else { throw Refusal(.forbidden, "only OWNER and ADMIN may invite") }
    }

    private func body(of invitation: Invitation) -> FrameBody { FrameBody { invitation.write(to: &$0) } }
}
