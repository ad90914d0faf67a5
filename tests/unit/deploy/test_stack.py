from deploy.stack.stack import GPU_READY_TIMEOUT_S, ready_timeout_s


def test_start_may_take_longer_on_a_gpu(tmp_path):
    assert ready_timeout_s(tmp_path, 120) == 120

    (tmp_path / "gpu" / "models").mkdir(parents=True)

    assert ready_timeout_s(tmp_path, 120) == GPU_READY_TIMEOUT_S
    assert ready_timeout_s(tmp_path, 900) == 900
