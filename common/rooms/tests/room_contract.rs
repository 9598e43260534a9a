//! Contract of the room store, on a standalone server and on a cluster of three masters. The
//! servers are real; each test has its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step fails the test")]

mod room {
    pub(crate) mod apps;
    pub(crate) mod chat;
    pub(crate) mod faults;
    pub(crate) mod fred;
    pub(crate) mod lobby;
    pub(crate) mod nodes;
    pub(crate) mod order;
    pub(crate) mod permissions;
    pub(crate) mod rates;
    pub(crate) mod relay;
    pub(crate) mod revocations;
    pub(crate) mod rooms;
    pub(crate) mod seats;
    pub(crate) mod shared_calls;
    pub(crate) mod slow_link;
    pub(crate) mod testbed;
}

/// Makes each check a test on a server without `CONFIG`, with the documented rights and no others.
macro_rules! restricted {
    ($($module:ident :: $check:ident;)*) => {
        mod restricted {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::room::$module::$check(super::room::testbed::TestBed::restricted().await).await;
            })*
        }
    };
}

restricted! {
    rooms::a_room_is_created_once_with_one_fact;
    rooms::an_outbox_has_one_owner_and_only_the_owner_trims_it;
    seats::a_resumed_session_gets_exactly_what_it_missed;
    seats::a_seat_is_freed_after_its_grace_period_unless_it_was_resumed;
    relay::a_relay_reaches_only_its_receiver_and_a_broadcast_reaches_everyone_else;
    relay::a_lost_subscription_is_restored_on_every_channel;
    chat::chat_history_holds_public_and_own_private_messages_and_is_read_in_pages;
    chat::figures_count_participants_messages_and_the_peak;
    lobby::users_who_wait_only_for_a_place_are_admitted_in_order_of_arrival;
    lobby::a_repeated_command_of_an_operator_has_the_reply_of_the_first;
    nodes::two_sweepers_sweep_a_dead_node_once;
    revocations::a_revoked_sign_in_is_known_to_every_process_until_its_time_is_over;
    rates::of_requests_at_once_from_several_processes_exactly_the_rate_passes;
    apps::nodes_together_give_exactly_the_places_of_an_app_and_those_that_are_given_up;
    faults::killed_connections_under_load_lose_duplicate_or_reorder_no_event;
}

/// Makes each check a test on both kinds of server.
macro_rules! contract {
    ($($module:ident :: $check:ident;)*) => {
        mod standalone {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::room::$module::$check(super::room::testbed::TestBed::standalone().await).await;
            })*
        }
        mod cluster {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::room::$module::$check(super::room::testbed::TestBed::cluster().await).await;
            })*
        }
    };
}

contract! {
    rooms::newer_metadata_replaces_older_and_an_ended_room_is_not_opened_again;
    rooms::a_room_is_created_once_with_one_fact;
    rooms::only_the_host_ends_a_call_from_a_seat_and_every_session_gets_call_ended;
    rooms::ending_a_call_whose_room_is_absent_leaves_a_tombstone_and_a_fact;
    rooms::an_unused_room_is_deleted_and_a_call_that_has_taken_place_ends_when_it_is_empty;
    rooms::a_call_takes_place_from_its_host_or_from_two_users_at_the_same_time;
    rooms::a_call_does_not_close_while_a_participant_waits_for_the_host;
    rooms::an_ended_call_can_be_reopened_and_an_open_one_stays_as_it_is;
    rooms::opening_an_empty_open_room_again_does_not_extend_its_deadline;
    rooms::an_outbox_has_one_owner_and_only_the_owner_trims_it;
    rooms::ten_thousand_joins_and_leaves_leave_no_data_in_redis;
    seats::a_silent_socket_of_the_same_user_loses_its_seat_and_a_living_one_does_not;
    seats::two_devices_that_join_beside_a_silent_socket_do_not_take_one_seat_from_each_other;
    seats::a_changed_profile_is_announced_for_each_seat_and_later_snapshots_have_it;
    seats::a_question_is_answered_as_a_join_at_that_moment_and_changes_nothing;
    seats::of_two_hundred_joins_for_ten_seats_exactly_ten_succeed;
    seats::a_second_device_gets_its_own_peer_id_and_a_reload_takes_its_old_seat_over;
    seats::a_client_that_kept_nothing_takes_its_own_seat_over_in_a_full_room;
    seats::a_host_whose_page_reloads_stays_host_and_keeps_the_seat_if_the_answer_is_lost;
    seats::a_participant_in_the_lobby_who_comes_back_keeps_the_place_in_the_line;
    seats::a_ban_keeps_out_the_guests_of_its_address_except_who_is_in_the_call;
    seats::a_long_replay_is_read_in_pages_and_is_complete;
    seats::a_resumed_session_gets_exactly_what_it_missed;
    seats::a_resume_is_fresh_without_a_complete_log_or_with_another_users_seat;
    seats::an_older_generation_cannot_change_a_seat_that_was_taken_over;
    seats::of_two_sockets_with_one_private_id_the_first_keeps_the_seat;
    seats::a_seat_is_freed_after_its_grace_period_unless_it_was_resumed;
    seats::a_join_whose_caller_is_gone_leaves_no_ghost;
    seats::the_owner_of_a_full_call_gets_one_seat_more_and_no_one_else_does;
    relay::a_relay_reaches_only_its_receiver_and_a_broadcast_reaches_everyone_else;
    relay::an_event_with_the_clients_own_id_is_relayed_once;
    relay::operations_of_many_seats_keep_their_order_in_the_pipeline;
    shared_calls::relays_that_wait_together_share_calls_and_each_has_its_own_outcome;
    shared_calls::an_error_of_one_relay_is_not_the_error_of_those_in_its_call;
    shared_calls::a_repeated_call_of_which_a_part_took_effect_answers_that_part_as_before;
    shared_calls::candidates_that_wait_together_share_an_entry_and_stay_separate_events;
    relay::a_log_stays_within_its_length_and_its_floor_rises;
    relay::a_resume_tells_the_bytes_that_it_read_for_others;
    relay::a_log_stays_within_its_bytes_and_its_floor_rises;
    relay::many_seats_together_keep_the_log_within_its_length_and_bytes;
    relay::a_log_lives_for_the_window_after_its_last_entry_although_its_expiry_is_seldom_set;
    relay::a_lost_subscription_is_restored_on_every_channel;
    relay::a_bare_user_id_reaches_the_first_device_of_that_user;
    chat::chat_history_holds_public_and_own_private_messages_and_is_read_in_pages;
    chat::a_page_of_the_history_costs_by_its_limit_and_not_by_the_history;
    chat::a_page_and_the_history_are_bounded_in_bytes;
    chat::a_repeated_message_is_answered_with_the_first_ones_stamp;
    chat::a_repeated_message_that_was_refused_is_not_taken_for_one_to_nobody;
    chat::a_recorded_message_enters_the_outbox_and_is_refused_when_the_outbox_is_full;
    chat::chat_follows_the_present_settings_and_its_history_ends_with_the_call;
    chat::an_ephemeral_event_reaches_everyone_elses_nodes_and_no_log;
    chat::an_event_of_a_backend_reaches_its_receivers_once_and_stays_in_the_log;
    chat::a_hand_keeps_its_time_until_it_is_lowered_and_goes_with_its_seat;
    chat::a_moderator_lowers_a_hand_of_a_lower_role_and_everyone_is_told_once;
    chat::media_go_on_only_with_the_present_role_and_settings_and_off_at_any_time;
    chat::figures_count_participants_messages_and_the_peak;
    lobby::users_who_wait_only_for_a_place_are_admitted_in_order_of_arrival;
    lobby::a_repeated_command_of_an_operator_has_the_reply_of_the_first;
    lobby::a_call_that_asks_more_of_newcomers_sends_its_lobby_away;
    lobby::a_newer_version_of_a_record_asks_the_lobby_as_any_other_change_does;
    lobby::guests_of_one_address_take_a_quarter_of_the_lobby_and_leave_the_rest;
    lobby::a_locked_room_admits_no_participant_of_the_lobby_by_itself;
    lobby::an_unlocked_room_admits_those_who_would_not_have_to_wait;
    order::the_next_host_is_the_longest_present_of_the_highest_role;
    order::the_backend_of_an_app_makes_a_participant_host_who_keeps_the_role;
    order::an_event_about_the_lobby_is_logged_once_and_is_for_moderators_alone;
    order::a_stand_in_does_nothing_that_outlasts_the_hosts_absence;
    order::a_moderator_who_stands_in_does_what_a_moderator_may_do_and_no_more;
    order::one_user_has_a_bounded_number_of_seats;
    order::what_one_guest_can_repeat_does_not_read_every_seat;
    order::in_a_call_of_a_backend_those_moderate_whom_it_or_a_role_allows;
    order::a_host_by_the_backend_hands_on_or_ends_the_call_and_comes_back_as_host;
    order::several_hosts_by_the_backend_keep_the_role_until_the_backend_takes_it;
    order::the_owner_of_a_call_stays_host_beside_hosts_by_token_and_by_the_backend;
    order::a_host_by_token_who_waits_for_a_seat_becomes_host_with_it;
    permissions::given_permissions_bound_every_device_and_switch_off_what_is_on;
    permissions::given_permissions_outlast_a_resume_and_a_return_and_an_admission_has_them;
    permissions::the_newest_token_of_a_user_says_what_the_user_may_do_on_every_device;
    permissions::changes_of_a_profile_at_the_same_time_are_all_kept;
    nodes::only_a_registered_node_gives_seats;
    nodes::each_node_reads_the_heartbeats_of_those_that_follow_it_on_the_ring;
    nodes::a_sweep_that_its_node_left_is_finished_by_another;
    nodes::a_node_that_is_on_no_ring_is_found_and_swept;
    nodes::two_sweepers_sweep_a_dead_node_once;
    nodes::a_node_swept_by_mistake_learns_it_and_its_session_can_resume;
    nodes::a_node_is_deregistered_only_without_seats;
    nodes::seats_lost_with_the_data_are_put_back_as_they_were;
    nodes::the_used_share_of_maxmemory_is_reported;
    revocations::a_revoked_sign_in_is_known_to_every_process_until_its_time_is_over;
    revocations::a_sign_out_is_stronger_than_a_replay_in_either_order;
    revocations::revoked_sign_ins_stay_revoked_while_redis_is_away;
    rates::of_requests_at_once_from_several_processes_exactly_the_rate_passes;
    rates::spent_requests_become_available_again_and_then_the_count_expires;
    apps::nodes_together_give_exactly_the_places_of_an_app_and_those_that_are_given_up;
    apps::a_call_counts_once_on_all_nodes_and_a_call_beyond_the_limit_is_refused;
    apps::a_node_and_a_call_that_are_reported_no_more_count_for_ten_seconds;
    rates::wrong_guesses_of_one_address_refuse_no_other_and_a_right_one_always_passes_first;
    rates::guesses_under_way_together_are_paid_for_with_time;
    rates::every_request_passes_uncounted_while_redis_is_away;
    faults::killed_connections_under_load_lose_duplicate_or_reorder_no_event;
    faults::operations_before_a_leave_take_effect_although_connections_die;
    faults::flushed_scripts_under_load_lose_duplicate_or_reorder_no_event;
    faults::a_paused_redis_refuses_callers_in_time_and_leaves_no_gap_or_ghost;
    faults::a_redis_that_refuses_writes_loses_no_leave_and_no_operation_number;
    faults::a_busy_redis_or_one_that_denies_scripts_loses_no_leave;
}

/// Makes each check a test in which the stores of api pods use `fred`.
macro_rules! fred {
    ($kind:ident in $place:ident: $($module:ident :: $check:ident;)*) => {
        mod $place {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::room::$module::$check(super::room::testbed::TestBed::$kind().await.with_fred()).await;
            })*
        }
    };
}

fred! {
    standalone in fred_standalone:
    rooms::newer_metadata_replaces_older_and_an_ended_room_is_not_opened_again;
    rooms::a_room_is_created_once_with_one_fact;
    rooms::ending_a_call_whose_room_is_absent_leaves_a_tombstone_and_a_fact;
    rooms::an_ended_call_can_be_reopened_and_an_open_one_stays_as_it_is;
    seats::a_changed_profile_is_announced_for_each_seat_and_later_snapshots_have_it;
    seats::a_question_is_answered_as_a_join_at_that_moment_and_changes_nothing;
    lobby::a_newer_version_of_a_record_asks_the_lobby_as_any_other_change_does;
    chat::figures_count_participants_messages_and_the_peak;
    revocations::a_revoked_sign_in_is_known_to_every_process_until_its_time_is_over;
    rates::wrong_guesses_of_one_address_refuse_no_other_and_a_right_one_always_passes_first;
    rates::every_request_passes_uncounted_while_redis_is_away;
    fred::a_request_above_the_bound_is_refused_immediately;
    fred::a_request_of_a_seat_is_refused;
    fred::a_restarted_redis_is_used_again;
}

// On a cluster, what depends on the server of a partition.
fred! {
    cluster in fred_cluster:
    rooms::an_outbox_has_one_owner_and_only_the_owner_trims_it;
    nodes::the_used_share_of_maxmemory_is_reported;
    rates::of_requests_at_once_from_several_processes_exactly_the_rate_passes;
    fred::calls_are_created_once_although_connections_die_and_scripts_are_flushed;
    fred::a_paused_redis_refuses_requests_in_time_and_serves_when_it_goes_on;
}

/// A server without `CONFIG`, and a user with the documented rights and no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fred_needs_only_the_documented_rights() {
    let bed = room::testbed::TestBed::restricted().await.with_fred();
    room::fred::calls_are_created_once_although_connections_die_and_scripts_are_flushed(bed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fred_follows_a_moved_slot() {
    room::fred::a_moved_slot_is_followed(room::testbed::TestBed::cluster().await.with_fred()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fred_serves_the_rooms_of_other_masters_while_one_is_down() {
    room::fred::a_lost_master_stops_only_its_own_rooms(room::testbed::TestBed::replicated().await.with_fred()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fred_follows_the_master_that_sentinels_name() {
    room::fred::the_master_that_sentinels_name_is_followed(room::testbed::TestBed::sentinel().await.with_fred()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_slot_under_load_loses_duplicates_or_reorders_no_event() {
    room::faults::slot_moved_under_load(room::testbed::TestBed::cluster().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rooms_of_a_lost_master_continue_on_its_replica() {
    room::faults::master_lost(room::testbed::TestBed::replicated().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_and_subscriptions_follow_the_master_that_sentinels_name() {
    room::faults::sentinel_failover(room::testbed::TestBed::sentinel().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_takes_longer_than_a_request_may_wait_is_read() {
    let bed = room::testbed::TestBed::standalone().await;
    room::slow_link::a_log_that_takes_longer_than_a_request_may_wait_is_read(bed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_takes_longer_than_a_request_may_wait_is_sent() {
    let bed = room::testbed::TestBed::standalone().await;
    room::slow_link::a_pipeline_that_takes_longer_than_a_request_may_wait_is_sent(bed).await;
}
