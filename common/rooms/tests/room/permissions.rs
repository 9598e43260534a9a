//! Permissions of the users of an app, which its backend changes in the room.

use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_rooms::*;

use super::testbed::*;

const ALL: CallPermissions = CallPermissions { can_publish: true, can_share_screen: true, can_chat: true };

/// Returns the request of user `n` of an app for a seat.
fn join_of_app(n: usize) -> Join {
    Join { permissions: Some(ALL), ..join("R", n) }
}

fn change(n: usize, change: PermissionsChange) -> ModerationCommand {
    ModerationCommand::Permissions { peer: peer(n), change }
}

/// Returns name and payload of the events that a participant reads after a position.
async fn read(rooms: &Rooms, reader: &PeerId, after: LogId) -> Vec<(String, serde_json::Value)> {
    let entries = rooms.read(&room("R"), reader, after).await.unwrap().unwrap();
    let events = entries.iter().map(LogEntry::event).filter(|event| !event.is_empty());
    events.map(|event| (event.split('"').nth(1).unwrap().to_owned(), said(event))).collect()
}

fn names(events: &[(String, serde_json::Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

pub(crate) async fn given_permissions_bound_every_device_and_switch_off_what_is_on(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    rooms.open(&room("R"), &RoomMeta { host: UserId::nobody(), ..meta(9) }).await.unwrap();
    let first = seated(rooms.join(join_of_app(1)).await.unwrap());
    let device = Join { pid: "second".into(), handle: SessionHandle(8), ..join_of_app(1) };
    let second = seated(rooms.join(device).await.unwrap());
    let other = seated(rooms.join(join_of_app(2)).await.unwrap());
    logged(act(&rooms, &first.seat, switch(Role::Participant, [None, None, Some(true)])).await);
    let run = async |command: &ModerationCommand| {
        let outcome = api.moderate(&room("R"), Caller::Operator, command).await.unwrap();
        assert_eq!(outcome, ModerationOutcome::Done(Vec::new()));
    };
    let quiet = PermissionsChange { can_publish: Some(false), can_share_screen: Some(false), can_chat: None };
    run(&change(1, quiet)).await;

    let (changed, media) = ("participant:permissions-changed", "participant:media-state-changed");
    let seen = read(&rooms, &other.seat.peer, other.id).await;
    assert_eq!(names(&seen), [media, changed, media, changed, media]);
    let given = serde_json::json!({ "canPublish": false, "canShareScreen": false, "canChat": true });
    let off = serde_json::json!({ "videoEnabled": false, "audioEnabled": false, "screenShareEnabled": false });
    for (index, seat) in [&first.seat, &second.seat].into_iter().enumerate() {
        let (_, change) = &seen[1 + 2 * index];
        assert_eq!((&change["peerId"], &change["permissions"]), (&seat.peer.as_str().into(), &given));
        assert_eq!((&seen[2 + 2 * index].1["peerId"], &seen[2 + 2 * index].1["mediaState"]), (&change["peerId"], &off));
    }
    let own = read(&rooms, &first.seat.peer, other.id).await;
    let kinds = own.iter().filter(|(name, _)| name == "participant:muted").map(|(_, muted)| &muted["kind"]);
    assert_eq!(kinds.collect::<Vec<_>>(), ["video", "audio", "screenShare"]);
    let own = read(&rooms, &second.seat.peer, other.id).await;
    assert_eq!(own.iter().filter(|(name, _)| name == "participant:muted").count(), 2, "it shared no screen");

    // The script refuses what the node's copy may still allow; switching off is allowed.
    let on = |wishes| act(&rooms, &first.seat, switch(Role::Participant, wishes));
    assert_eq!(on([Some(true), None, None]).await.unwrap(), OpReply::Off("canPublish".into()));
    assert_eq!(on([None, None, Some(true)]).await.unwrap(), OpReply::Off("canShareScreen".into()));
    logged(on([Some(false), Some(false), None]).await);
    logged(act(&rooms, &second.seat, chat(None, "m1")).await);
    run(&change(1, PermissionsChange { can_chat: Some(false), ..PermissionsChange::default() })).await;
    assert_eq!(act(&rooms, &second.seat, chat(None, "m2")).await.unwrap(), OpReply::Off("canChat".into()));
    let typing = rooms.send_ephemeral(&second.seat, EventKind::ChatTyping, "\"t\",{}", "canChat chatEnabled").await;
    assert_eq!(typing.unwrap(), EphemeralOutcome::Off("canChat".into()));
    let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
    let none = CallPermissions { can_publish: false, can_share_screen: false, can_chat: false };
    let shown: Vec<_> = snapshot.seats.iter().map(|seat| seat.permissions).collect();
    assert_eq!(shown, [Some(none), Some(none), Some(ALL)]);
    // What is given again is allowed again, and changes no medium by itself.
    let before = read(&rooms, &other.seat.peer, other.id).await.len();
    run(&change(1, PermissionsChange { can_publish: Some(true), ..PermissionsChange::default() })).await;
    run(&change(1, PermissionsChange { can_publish: Some(true), ..PermissionsChange::default() })).await;
    let seen = read(&rooms, &other.seat.peer, other.id).await;
    assert_eq!(names(&seen[before..]), [changed, changed], "a repetition announces nothing");
    logged(on([Some(true), None, None]).await);
    let missing = api.moderate(&room("R"), Caller::Operator, &change(7, quiet)).await.unwrap();
    assert_eq!(missing, ModerationOutcome::NoPeer);
}

pub(crate) async fn given_permissions_outlast_a_resume_and_a_return_and_an_admission_has_them(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    one.open(&room("R"), &RoomMeta { host: UserId::nobody(), ..meta(9) }).await.unwrap();
    let seat = seated(one.join(join_of_app(1)).await.unwrap());
    let other = seated(one.join(join_of_app(2)).await.unwrap());
    assert!(matches!(one.join(Join { waits: true, ..join_of_app(3) }).await.unwrap(), Joined::Waiting { .. }));
    let quiet = PermissionsChange { can_publish: Some(false), ..PermissionsChange::default() };
    for n in [1, 3] {
        one.moderate(&room("R"), Caller::Operator, &change(n, quiet)).await.unwrap();
    }
    let given = CallPermissions { can_publish: false, ..ALL };
    // Another node resumes the seat.
    let resumed = resumed(two.attach(attach("R", 1, 9, seat.id)).await.unwrap());
    assert_eq!((resumed.copy.permissions, resumed.copy.permissions_given), (Some(given), true));
    // A participant who leaves and returns with the same token has them, and admission sees them.
    two.leave(&resumed.seat, "left").await.unwrap();
    let (_, standing) = two.peek_for(&room("R"), &user(1), &Proof::default()).await.unwrap();
    assert_eq!(standing.given_permissions, Some(given));
    assert!(matches!(two.join(join_of_app(1)).await.unwrap(), Joined::Changed), "decided on older permissions");
    let back = Join { permissions: Some(given), given_permissions: Some(given), ..join_of_app(1) };
    let back = seated(two.join(back).await.unwrap());
    let reload = Join {
        pid: "reload".into(),
        old_pid: Some("pid-1".into()),
        permissions: Some(given),
        given_permissions: Some(given),
        ..join_of_app(1)
    };
    two.detach(&back.seat).await.unwrap();
    let snapshot = seated(two.join(reload).await.unwrap()).snapshot;
    let shown = |snapshot: &Snapshot, n: usize| {
        let seat = snapshot.seats.iter().find(|seat| seat.user_id == user(n)).unwrap();
        (seat.permissions, seat.media_state.video_enabled)
    };
    assert_eq!((shown(&snapshot, 1).0, shown(&snapshot, 2)), (Some(given), (Some(ALL), true)));
    // The participant in the lobby learned it there, and is announced with it.
    let waiting = read(&one, &peer(3), other.id).await;
    assert_eq!(names(&waiting), ["participant:permissions-changed"]);
    one.moderate(&room("R"), Caller::Operator, &ModerationCommand::Admit(None)).await.unwrap();
    let announced = read(&one, &peer(2), other.id).await;
    let (_, joined) = announced.iter().rev().find(|(name, _)| name == "room:user-joined").unwrap();
    assert_eq!(joined["participant"]["permissions"]["canPublish"], false);
    assert_eq!(joined["participant"]["mediaState"]["videoEnabled"], false);
    assert_eq!(shown(&one.snapshot(&room("R")).await.unwrap().unwrap(), 3), (Some(given), false));
}

pub(crate) async fn the_newest_token_of_a_user_says_what_the_user_may_do_on_every_device(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    let name = room("acme.R");
    rooms.open(&name, &RoomMeta { host: UserId::nobody(), ..meta(9) }).await.unwrap();
    let quiet = CallPermissions { can_publish: false, ..ALL };
    let grant = |issued_ms, permissions| TokenGrant { issued_ms, role: Role::Participant, permissions };
    // Joins as a node does: the newest grant holds.
    let enter = async |pid: &str, own: TokenGrant| {
        let (_, standing) = rooms.peek_for(&name, &user(1), &Proof::default()).await.unwrap();
        let grant = standing.grant_over(own);
        let permissions = Some(standing.given_permissions.unwrap_or(grant.permissions));
        let join = Join {
            pid: pid.into(),
            handle: SessionHandle(100 + pid.len() as u64),
            grant: Some(grant),
            permissions,
            given_permissions: standing.given_permissions,
            ..join("acme.R", 1)
        };
        seated(rooms.join(join).await.unwrap())
    };
    let shown = async || {
        let snapshot = rooms.snapshot(&name).await.unwrap().unwrap();
        snapshot
            .seats
            .iter()
            .map(|seat| (seat.permissions.unwrap(), seat.media_state.video_enabled))
            .collect::<Vec<_>>()
    };
    let other = sit(&rooms, "acme.R", 2).await;
    let first = enter("a", grant(2_000, ALL)).await;
    rooms.leave(&other.seat, "left").await.unwrap();
    assert_eq!(shown().await, [(ALL, true)]);
    // A newer token with less binds the device that is there, and switches off its camera.
    enter("bb", grant(3_000, quiet)).await;
    assert_eq!(shown().await, [(quiet, false), (quiet, true)], "each join brings its own media");
    let read = rooms.read(&name, &first.seat.peer, first.id).await.unwrap().unwrap();
    let told = |kind: &str| read.iter().filter(|entry| entry.event().starts_with(&format!("\"{kind}\""))).count();
    assert_eq!((told("participant:permissions-changed"), told("participant:muted")), (1, 2));
    // An older token brings nothing back: on a third device, or after a return.
    let third = enter("ccc", grant(2_000, ALL)).await;
    rooms.leave(&third.seat, "left").await.unwrap();
    enter("dddd", grant(1_000, ALL)).await;
    assert_eq!(shown().await.iter().map(|(permissions, _)| *permissions).collect::<Vec<_>>(), [quiet; 3]);
    // Nor does it when admission saw no newer one.
    let stale = Join { pid: "e".into(), handle: SessionHandle(9), grant: Some(grant(2_000, ALL)), ..join("acme.R", 1) };
    assert!(matches!(rooms.join(stale).await.unwrap(), Joined::Changed));
    // A newer one gives back, and what the backend sets in the room comes before every token.
    enter("fffff", grant(4_000, ALL)).await;
    assert_eq!(shown().await.iter().map(|(permissions, _)| *permissions).collect::<Vec<_>>(), [ALL; 4]);
    let change = change(1, PermissionsChange { can_publish: Some(false), ..PermissionsChange::default() });
    api.moderate(&name, Caller::Operator, &change).await.unwrap();
    enter("gggggg", grant(5_000, ALL)).await;
    assert_eq!(shown().await.iter().map(|(permissions, _)| *permissions).collect::<Vec<_>>(), [quiet; 5]);
}

pub(crate) async fn changes_of_a_profile_at_the_same_time_are_all_kept(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    rooms.open(&room("R"), &meta(9)).await.unwrap();
    // What a decoder and an encoder would change: an empty list, a long number, an escaped quote.
    let data =
        serde_json::json!({ "tags": [], "number": 12_345_678_901_234_567_u64, "user": { "name": "\"metadata\":" } });
    let user_one = PublicUser { metadata: Some(data.clone()), ..PublicUser::new(user(1), "Ann".into(), None) };
    seated(rooms.join(Join { public: user_one, ..join("R", 1) }).await.unwrap());
    let avatar = "https://example.org/a/b.png".to_owned();
    let change = async |update: ProfileUpdate| api.change_profile(&room("R"), &user(1), &update).await.unwrap();
    tokio::join!(
        change(ProfileUpdate { name: Some("A \"metadata\": /%1".into()), ..ProfileUpdate::default() }),
        change(ProfileUpdate { avatar: Some(Some(avatar.clone())), ..ProfileUpdate::default() }),
    );
    let now = async || rooms.snapshot(&room("R")).await.unwrap().unwrap().seats.remove(0).user;
    let user = now().await;
    assert_eq!((&*user.name, &user.avatar, &user.metadata), ("A \"metadata\": /%1", &Some(avatar), &Some(data)));
    let list = serde_json::json!([]);
    tokio::join!(
        change(ProfileUpdate { avatar: Some(None), ..ProfileUpdate::default() }),
        change(ProfileUpdate { metadata: Some(Some(list.clone())), ..ProfileUpdate::default() }),
    );
    let user = now().await;
    assert_eq!((&*user.name, &user.avatar, &user.metadata), ("A \"metadata\": /%1", &None, &Some(list)));
    change(ProfileUpdate { metadata: Some(None), ..ProfileUpdate::default() }).await;
    assert_eq!(now().await.metadata, None);
}
